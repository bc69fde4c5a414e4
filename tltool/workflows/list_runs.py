"""The runs in a folder, and what is known of one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tltool.errors import TltoolError, UsageError, reading
from tltool.evaluation.shared_test_set import (
    SharedTestSet,
    find_shared_test_set,
    find_shared_test_sets,
)
from tltool.runs.json_text import from_json
from tltool.runs.layout import RunLayout
from tltool.runs.lock import is_locked
from tltool.runs.manifest import Manifest, read_manifest


@dataclass(frozen=True)
class RunDetails:
    """What is known of a run.

    Attributes:
        folder: the run folder.
        manifest: what it recorded.
        status: running, finished, failed or interrupted, at this moment.
        metrics: the document of metrics.json; None without one.
    """

    folder: Path
    manifest: Manifest
    status: str
    metrics: Mapping[str, Any] | None

    def to_json(self) -> dict[str, Any]:
        """Return folder, manifest, status and metrics as one document."""
        return {
            "run": str(self.folder),
            **self.manifest.to_json(),
            "status": self.status,
            "metrics": self.metrics,
        }


def list_runs(folder: Path) -> list[dict[str, Any]]:
    """Return name, status, start, results and size of every run in ``folder``.

    The results on the validation set and on the test set are apart, each with its number of images
    and the interval of the accuracy; ``test_set`` says how many runs in the folder used the same
    test images.

    Raises:
        UsageError: there is no such folder.
    """
    if not folder.is_dir():
        raise UsageError(
            f"there is no folder '{folder}'",
            hint="runs are kept in ./runs unless --out said otherwise; give their folder",
        )
    if (folder / "manifest.json").is_file():
        shared = find_shared_test_set(folder)
        return [_row(folder, {shared.digest: shared} if shared else {})]
    test_sets = find_shared_test_sets(folder)
    return [_row(path.parent, test_sets) for path in sorted(folder.glob("*/manifest.json"))]


def describe_test_sets(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return a sentence for each test set that several of the listed runs share."""
    test_sets = {row["test_set"]["digest"]: row["test_set"] for row in rows if row.get("test_set")}
    return [
        f"{test_set['summary']}; the best is {Path(test_set['best']).name}"
        for test_set in test_sets.values()
        if test_set["summary"]
    ]


def show_run(folder: Path) -> RunDetails:
    """Return what is known of a run.

    Raises:
        UsageError: there is no such folder.
        DataError: the folder holds no run, its manifest was changed by hand, or its metrics are
            damaged.
    """
    run = RunLayout(folder)
    manifest = read_manifest(run.manifest)
    return RunDetails(folder, manifest, _status(folder, manifest.status), _metrics(run))


def check_resumable(run: RunLayout, status: str) -> None:
    """Check that a run can be resumed.

    Raises:
        UsageError: it is finished, or it failed.
    """
    if status == "finished":
        raise UsageError(
            f"the run '{run.folder}' is finished: there is nothing to resume",
            hint=f"tltool evaluate {run.folder} FOLDER",
        )
    if status == "failed":
        raise UsageError(
            f"the run '{run.folder}' ended with an error that a second try would meet again",
            hint=f"{run.log} names it; start a new run",
        )


def _row(folder: Path, test_sets: Mapping[str, SharedTestSet]) -> dict[str, Any]:
    run = RunLayout(folder)
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    try:
        manifest = read_manifest(run.manifest)
        metrics = _metrics(run) or {}
        with reading(run.metrics, "file of metrics"):
            test, validation = _test(metrics), _validation(metrics)
    except TltoolError as error:
        return {"run": str(folder), "status": "unreadable", "error": error.message, "bytes": size}
    shared = test_sets.get(manifest.test_digest or "") if test else None
    return {
        "run": str(folder),
        "status": _status(folder, manifest.status),
        "started": manifest.started,
        "backbone": manifest.backbone["name"] if manifest.backbone else None,
        "validation": validation,
        "test": test,
        "test_set": shared.to_json() if shared else None,
        "bytes": size,
    }


def _validation(metrics: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return what a run reached on its validation set; bounds are None in runs of old versions."""
    figures = metrics.get("validation")
    if not figures:
        return None
    evaluated = metrics["accuracy"] if metrics.get("split") == "validation" else {}
    known = evaluated.get("low"), evaluated.get("high")
    low, high = figures.get("val_accuracy_interval") or known
    accuracy = {"value": figures["val_accuracy"], "low": low, "high": high}
    n = figures.get("n") or (metrics["n"] if evaluated else None)
    return _checked({"n": n, "accuracy": accuracy, "log_loss": figures["val_loss"]})


def _test(metrics: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return what a run reached on its test set; None without one."""
    if metrics.get("split") != "test":
        return None
    rate = {bound: metrics["accuracy"][bound] for bound in ("value", "low", "high")}
    return _checked({"n": metrics["n"], "accuracy": rate, "log_loss": metrics["log_loss"]})


def _checked(result: dict[str, Any]) -> dict[str, Any]:
    """Return a result; raise ValueError if one of its figures is no number."""
    for name, value in {**result, **result["accuracy"]}.items():
        missing = value is None and name in ("n", "low", "high")
        if name != "accuracy" and not missing and not isinstance(value, int | float):
            raise ValueError(f"{name} is no number")
    return result


def _status(folder: Path, recorded: str) -> str:
    """Return the actual status: a run recorded as running may have been killed."""
    if recorded == "running" and not is_locked(folder):
        return "interrupted"
    return recorded


def _metrics(run: RunLayout) -> Mapping[str, Any] | None:
    if not run.metrics.exists():
        return None
    with reading(run.metrics, "file of metrics", hint="restore it from a copy"):
        return dict(from_json(run.metrics.read_text(encoding="utf-8")))
