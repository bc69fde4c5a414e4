"""Disks that fail, fill up or lack operations while a run writes; when a run is finished."""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import ONLY_PROBE, flip_bit
from tests.workflows.conftest import AtPhase, write_fruit
from tltool.errors import EnvironmentProblem
from tltool.runs.manifest import read_manifest
from tltool.workflows.finetune import FinetuneResult
from tltool.workflows.resume import resume
from tltool.workflows.training_run import finish


@pytest.mark.thorough
@pytest.mark.slow
def test_flipped_bits_of_cached_features_do_not_change_the_model(
    tmp_path: Path, finetune_tiny: Callable[..., FinetuneResult]
) -> None:
    photos = write_fruit(tmp_path / "photos", n=6)
    whole = finetune_tiny(photos)

    def damage() -> None:
        for column in (tmp_path / "run1" / "cache").rglob("activations.bin"):
            for position in range(100, column.stat().st_size, 20_000):
                flip_bit(column, position)

    again = finetune_tiny(photos, observer=AtPhase("finetune", damage))
    digests = [read_manifest(one.run / "manifest.json").model_digest for one in (whole, again)]
    assert digests[0] == digests[1]
    assert "were damaged on the disk" in (again.run / "log.txt").read_text()


@pytest.mark.thorough
@pytest.mark.slow
def test_a_run_is_finished_once_all_its_results_are_on_the_disk(
    tmp_path: Path, finetune_tiny: Callable[..., FinetuneResult], monkeypatch: pytest.MonkeyPatch
) -> None:
    photos = write_fruit(tmp_path / "photos", n=6)
    flushed: set[tuple[int, int]] = set()  # inode and time of the last change
    at_the_end: list[set[tuple[int, int]]] = []
    fsync = os.fsync

    def recorded(descriptor: int) -> None:
        status = os.fstat(descriptor)
        flushed.add((status.st_ino, status.st_mtime_ns))
        path = Path(f"/proc/self/fd/{descriptor}").readlink()
        if path.suffix == ".json" and '"status": "finished"' in path.read_text():
            at_the_end.append(set(flushed))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", recorded)
    run = finetune_tiny(photos, "evaluate.report=true").run
    before = at_the_end[0]
    files = {path for path in run.rglob("*") if path.is_file()} - {run / "manifest.json"}
    late = {path for path in files if (path.stat().st_ino, path.stat().st_mtime_ns) not in before}
    assert {path.name.split(".")[0] for path in late} <= {"", "log", "events"}  # go on to the end
    assert {"model.keras", "artifact.json", "calibration.npz", "metrics.json"} <= {
        path.name for path in files
    }


@pytest.mark.thorough
@pytest.mark.slow
def test_a_disk_that_is_full_at_the_end_names_the_way_to_go_on(
    tmp_path: Path, finetune_tiny: Callable[..., FinetuneResult], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    photos = write_fruit(tmp_path / "photos", n=6)
    monkeypatch.setattr(finish, "write_durably", full)
    with pytest.raises(EnvironmentProblem, match=r"a disk is full .*No space left") as caught:
        finetune_tiny(photos, *ONLY_PROBE)
    run = tmp_path / "run0"
    assert f"tltool runs resume {run}" in str(caught.value.hint)
    assert not (run / "metrics.json").exists()
    monkeypatch.undo()
    resume(run)
    assert read_manifest(run / "manifest.json").status == "finished"


@pytest.mark.slow
def test_a_run_on_a_disk_without_locks_and_links_ends_well_and_warns(
    tmp_path: Path, finetune_tiny: Callable[..., FinetuneResult], monkeypatch: pytest.MonkeyPatch
) -> None:
    def not_supported(*_: object) -> None:
        raise OSError(errno.EOPNOTSUPP, os.strerror(errno.EOPNOTSUPP))

    for module, name in ((fcntl, "flock"), (os, "link"), (os, "posix_fallocate")):
        monkeypatch.setattr(module, name, not_supported)
    run = finetune_tiny(write_fruit(tmp_path / "photos", n=6), *ONLY_PROBE).run
    assert read_manifest(run / "manifest.json").status == "finished"
    assert "has no file locks: do not work on this run" in (run / "log.txt").read_text()
