"""Remove runs and free their disk space: only folders of runs, and only what a run wrote."""

from __future__ import annotations

import datetime
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tltool.errors import DataError, EnvironmentProblem, TltoolError, UsageError, some_of
from tltool.runs.layout import FILES_IN, GROUP_FILE, RUN_NAMES, RunLayout
from tltool.runs.lock import is_locked, locked
from tltool.storage.durable import is_unfinished
from tltool.workflows.list_runs import RunDetails, show_run

_DAY = 24 * 3600.0


@dataclass(frozen=True)
class RemovableRun:
    """A run that may be removed, or why it may not.

    Attributes:
        folder: the run folder.
        status: running, finished, failed or interrupted.
        started: UTC, as 2026-01-31T23:59:59Z.
        accuracy: on the validation set, from 0 to 1; None without a result.
        bytes: size of all its files.
        refers: what refers to the run, a sentence; None if nothing does.
    """

    folder: Path
    status: str
    started: str
    accuracy: float | None
    bytes: int
    refers: str | None

    def to_json(self) -> dict[str, Any]:
        """Return it as a document."""
        return {**vars(self), "folder": str(self.folder)}


def removable_run(folder: Path) -> RemovableRun:
    """Check that a folder is one of a run, and that nothing but the run is in it.

    Raises:
        UsageError: there is no such folder, it is a link, a process works on it, or it belongs to a
            sweep or a cross-validation.
        DataError: it holds no run, or files that the run did not write.
    """
    if folder.is_symlink():
        raise UsageError(f"'{folder}' is a link to a run", hint=f"give '{folder.resolve()}'")
    if (folder / GROUP_FILE).is_file():
        raise UsageError(
            f"'{folder}' is the folder of a sweep or a cross-validation, not of one run",
            hint="delete it yourself if none of its runs is needed any more",
        )
    details = show_run(folder)
    if is_locked(folder):
        raise UsageError(
            f"a process works on the run '{folder}'", hint="wait until it has ended, or end it"
        )
    if (folder.absolute().parent / GROUP_FILE).is_file():
        raise UsageError(
            f"the run '{folder}' belongs to a sweep or a cross-validation, which needs all of them",
            hint=f"delete the folder '{folder.absolute().parent}' yourself if it is not needed",
        )
    _check_contents(folder)
    return RemovableRun(
        folder,
        details.status,
        details.manifest.started,
        _accuracy(details.metrics),
        sum(path.lstat().st_size for path in folder.rglob("*") if not path.is_dir()),
        _reference(folder, details),
    )


def check_references(runs: Iterable[RemovableRun]) -> None:
    """Check that nothing refers to the runs.

    Raises:
        UsageError: an exported model or another run does.
    """
    for run in runs:
        if run.refers:
            raise UsageError(
                f"'{run.folder}': {run.refers}", hint="--force removes the run all the same"
            )


def select_runs(
    folder: Path,
    *,
    older_than: float | None = None,
    keep_best: int | None = None,
    failed: bool = False,
    now: datetime.datetime,
) -> tuple[list[RemovableRun], list[str]]:
    """Return the runs in a folder that meet every condition, and why others stay, as sentences.

    Args:
        folder: the folder with the runs.
        older_than: days since the start of the run.
        keep_best: of each set of images, all finished runs but this many, those of the highest
            accuracy on the validation set.
        failed: only runs that ended with an error.
        now: the present time, with its time zone.

    Raises:
        UsageError: there is no such folder, or no condition is given.
    """
    if not folder.is_dir():
        raise UsageError(f"there is no folder '{folder}'", hint="give the folder with the runs")
    if older_than is None and keep_best is None and not failed:
        raise UsageError(
            "no condition says which runs to remove",
            hint="give --older-than DAYS, --keep-best N or --failed; `runs rm` removes single runs",
        )
    found, kept = _read(folder)
    best = set() if keep_best is None else _best(found, keep_best)
    runs = []
    for run in found:
        age = now - datetime.datetime.fromisoformat(run.manifest.started)
        met = (
            older_than is None or age.total_seconds() > older_than * _DAY,
            keep_best is None or (run.status == "finished" and run.folder not in best),
            not failed or run.status == "failed",
        )
        if not all(met):
            continue
        try:
            runs.append(removable_run(run.folder))
        except TltoolError as error:
            kept.append(f"kept: {error.message}")
    return runs, kept


def remove_runs(runs: Sequence[RemovableRun]) -> int:
    """Delete the folders of runs; return the number of bytes that this frees.

    The manifest is deleted last: what an interrupted call leaves is still a run, which can be
    removed.

    Raises:
        UsageError: a process works on one of them.
        EnvironmentProblem: a file cannot be deleted.
    """
    for run in runs:
        with locked(run.folder):
            _check_contents(run.folder)  # once more: something may have come into it since
            try:
                _delete(RunLayout(run.folder))
            except OSError as error:
                raise EnvironmentProblem(
                    f"'{run.folder}' cannot be removed: {error.strerror}",
                    hint="it may belong to another user, or its disk may be read-only",
                ) from None
    return sum(run.bytes for run in runs)


def _check_contents(folder: Path) -> None:
    """Check that a run folder holds only what a run writes."""
    others = sorted(
        path.relative_to(folder).as_posix()
        for path in _files_below(folder)
        if not _is_of_run(path.relative_to(folder)) and not is_unfinished(path.name)
    )
    if others:
        raise DataError(
            f"'{folder}' contains what no run writes: {some_of(others)}",
            hint="move it to another place first; nothing in it was removed",
        )


def _files_below(folder: Path) -> Iterator[Path]:
    """Yield all that is not a folder, links among it, and folders with a name of no run."""
    for path in folder.iterdir():
        if path.is_symlink() or not path.is_dir() or path.name not in RUN_NAMES:
            yield path
        else:
            yield from (one for one in path.rglob("*") if one.is_symlink() or not one.is_dir())


def _is_of_run(path: Path) -> bool:
    """Whether a run writes a file of this name, relative to its folder."""
    if len(path.parts) == 1:
        return path.name in RUN_NAMES
    return any(map(path.match, FILES_IN.get(path.parts[0], ("*",))))


def _delete(run: RunLayout) -> None:
    for path in sorted(run.folder.iterdir(), key=lambda path: path == run.manifest):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()
    run.folder.rmdir()


def _read(folder: Path) -> tuple[list[RunDetails], list[str]]:
    """Return the runs in a folder, and why others cannot be read, as sentences."""
    runs, unreadable = [], []
    for path in sorted(folder.glob("*/manifest.json")):
        try:
            runs.append(show_run(path.parent))
        except TltoolError as error:
            unreadable.append(f"kept: {error.message}")
    return runs, unreadable


def _best(runs: Iterable[RunDetails], most: int) -> set[Path]:
    """Return the folders of the best finished runs of each set of images, and of unranked ones.

    A run without an accuracy on a validation set cannot be ranked and stays.
    """
    by_data: dict[str | None, list[RunDetails]] = {}
    unranked = set()
    for run in runs:
        if _accuracy(run.metrics) is None:
            unranked.add(run.folder)
        elif run.status == "finished":
            by_data.setdefault(run.manifest.data_digest, []).append(run)
    ranked = (
        sorted(
            same, key=lambda run: (_accuracy(run.metrics) or 0, run.manifest.started), reverse=True
        )
        for same in by_data.values()
    )
    return unranked | {run.folder for same in ranked for run in same[:most]}


def _accuracy(metrics: Mapping[str, Any] | None) -> float | None:
    """Return the accuracy on the validation set; None without one."""
    value = ((metrics or {}).get("validation") or {}).get("val_accuracy")
    return float(value) if isinstance(value, int | float) else None


def _reference(folder: Path, details: RunDetails) -> str | None:
    """Return what refers to a run, a sentence; None if nothing does."""
    export = details.manifest.export
    if export is not None and Path(export).is_dir():
        return f"without it, its exported model '{export}' could not be compared or exported again"
    own = folder.resolve()
    for path in sorted(own.parent.glob("*/manifest.json")):
        if path.parent != own and _mentions(path.parent, own):
            return f"the run '{path.parent.name}' refers to it"
    return None


def _mentions(run: Path, other: Path) -> bool:
    """Whether recipe or manifest of a run names the folder of another one."""
    for path in (RunLayout(run).manifest, RunLayout(run).recipe):
        text = path.read_text("utf-8", errors="replace") if path.is_file() else ""
        if any(f"{other}{end}" in text for end in ("/", "\\", '"', "\n", "'")):
            return True
    return False
