"""Version folders are published in one step."""

import os
import time
from pathlib import Path

import pytest

from tltool.export.seal import write_seal
from tltool.export.versions import prune, publish, staging, versions


def publish_one(base_dir: Path) -> Path:
    with staging(base_dir) as staged:
        (staged / "variables").mkdir(parents=True)
        (staged / "variables" / "data").write_text("weights")
        return publish(staged, base_dir)


def publish_one_as(base_dir: Path, number: int) -> Path:
    folder = publish_one(base_dir)
    return folder.rename(base_dir / str(number))


def test_versions_count_up_from_one(tmp_path: Path) -> None:
    base_dir = tmp_path / "saved_models" / "ants"
    assert [publish_one(base_dir).name for _ in range(3)] == ["1", "2", "3"]
    assert (base_dir / "3" / "variables" / "data").read_text() == "weights"
    assert sorted(entry.name for entry in base_dir.iterdir()) == ["1", "2", "3"]


def test_the_next_version_is_one_over_the_highest_number(tmp_path: Path) -> None:
    for name in ("9", "10", "007", "v11", ".tltool-export-12"):
        (tmp_path / name).mkdir()
    (tmp_path / "99").write_text("a file")
    assert versions(tmp_path) == [9, 10]
    assert publish_one(tmp_path).name == "11"


def test_only_sealed_versions_are_pruned(tmp_path: Path) -> None:
    for number in (1, 3, 4):
        write_seal(publish_one_as(tmp_path, number), {"format": "saved_model"})
    (tmp_path / "2" / "holiday").mkdir(parents=True)
    gone = prune(tmp_path, 1, never=tmp_path / "4")
    assert [folder.name for folder in gone] == ["1", "3"]
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["2", "4"]


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt, OSError])
def test_a_failed_export_leaves_nothing(tmp_path: Path, error: type[BaseException]) -> None:
    base_dir = tmp_path / "saved_models" / "ants"
    with pytest.raises(error), staging(base_dir) as staged:
        staged.mkdir()
        (staged / "half").write_text("half")
        raise error
    assert list(tmp_path.iterdir()) == []


def test_a_failed_export_keeps_earlier_versions(tmp_path: Path) -> None:
    publish_one(tmp_path)
    with pytest.raises(RuntimeError), staging(tmp_path):
        raise RuntimeError
    assert [entry.name for entry in tmp_path.iterdir()] == ["1"]


def test_a_version_is_readable_for_a_server_of_another_user(tmp_path: Path) -> None:
    version = publish_one(tmp_path)
    (tmp_path / "plain").mkdir()
    assert version.stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_staging_folders_of_killed_exports_are_removed_after_a_day(tmp_path: Path) -> None:
    old, new = tmp_path / ".tltool-export-old", tmp_path / ".tltool-export-new"
    for folder in (old, new):
        (folder / "model").mkdir(parents=True)
    os.utime(old, (0, time.time() - 25 * 3600))
    publish_one(tmp_path)
    assert not old.exists() and new.exists()
