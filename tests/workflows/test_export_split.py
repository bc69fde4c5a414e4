"""Exporting a split: equal file names, missing images, and cleanup after an error."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from tltool.data.catalog import Catalog, Item
from tltool.data.splits.split import Split
from tltool.errors import DataError, EnvironmentProblem, UsageError
from tltool.events import SilentObserver
from tltool.runs.lock import locked
from tltool.workflows.dataset.export_split import How, export_split


def export(target: Path, paths: list[Path], how: How) -> None:
    catalog = Catalog(Path("/photos"), tuple(Item(path, "cat") for path in paths), ("cat",))
    split = Split(("train",) * len(paths), ("",) * len(paths))
    export_split(target, catalog, split, how, SilentObserver())


def test_thousands_of_equal_names_are_numbered_quickly(tmp_path: Path) -> None:
    paths = [Path(f"/photos/cat/{day}/a.jpg") for day in range(3000)]
    paths += [Path("/photos/cat/x/A-2.jpg"), Path("/photos/cat/y/A.JPG")]
    started = time.process_time()
    export(tmp_path / "out", paths, "link")
    assert time.process_time() - started < 5  # trying all numbers for each file took minutes
    names = [path.name for path in (tmp_path / "out/train/cat").iterdir()]
    assert len(names) == 3002
    assert {"a.jpg", "a-2.jpg", "a-3000.jpg", "A-2-2.jpg", "A-3001.JPG"} <= set(names)


def test_a_missing_image_is_named_and_nothing_is_left(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"gone\.jpg cannot be read: No such file"):
        export(tmp_path / "a/b/out", [tmp_path / "gone.jpg"], "copy")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("parent", ["", "a/b"])
def test_a_folder_that_cannot_be_created_leaves_no_parents(tmp_path: Path, parent: str) -> None:
    with pytest.raises(EnvironmentProblem, match="cannot be written"):
        export(tmp_path / parent / ("x" * 300) / "out", [Path("/photos/1.jpg")], "link")
    assert not list(tmp_path.iterdir())


def test_the_draft_of_a_split_that_was_killed_is_replaced(tmp_path: Path) -> None:
    draft = tmp_path / ".out.unfinished"
    (draft / "train").mkdir(parents=True)
    (draft / ".lock").write_text("1")
    (draft / "train" / "half.jpg").write_bytes(b"half")
    export(tmp_path / "out", [Path("/photos/1.jpg")], "link")
    assert not draft.exists()
    assert {path.name for path in (tmp_path / "out").rglob("*")} >= {"split.csv", "1.jpg"}
    assert not (tmp_path / "out" / ".lock").exists()


def test_two_splits_into_one_folder_at_once_are_refused(tmp_path: Path) -> None:
    draft = tmp_path / ".out.unfinished"
    draft.mkdir()
    with locked(draft), pytest.raises(UsageError, match="another process writes to"):
        export(tmp_path / "out", [Path("/photos/1.jpg")], "link")
    assert (draft / ".lock").exists()


def test_a_folder_that_no_split_has_made_is_kept(tmp_path: Path) -> None:
    (tmp_path / ".out.unfinished").mkdir()
    (tmp_path / ".out.unfinished" / "mine.txt").write_text("mine")
    with pytest.raises(UsageError, match="exists"):
        export(tmp_path / "out", [Path("/photos/1.jpg")], "link")
    assert (tmp_path / ".out.unfinished" / "mine.txt").read_text() == "mine"


def test_an_image_that_changed_since_the_audit_is_not_copied(tmp_path: Path) -> None:
    path = tmp_path / "cat" / "1.jpg"
    path.parent.mkdir()
    path.write_bytes(b"other")
    catalog = Catalog(tmp_path, (Item(path, "cat", sha256="0" * 64),), ("cat",))
    with pytest.raises(DataError, match=r"cat/1\.jpg is different since the audit"):
        export_split(tmp_path / "out", catalog, Split(("train",), ("",)), "copy", SilentObserver())
    assert {each.name for each in tmp_path.iterdir()} == {"cat"}
