"""The runs in a folder, and what is known of one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tltool.errors import DataError, TltoolError, UsageError
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
    """Return name, status, start, accuracy, log-loss and size of every run in ``folder``.

    Raises:
        DataError: there is no such folder.
    """
    if not folder.is_dir():
        raise DataError(
            f"there is no folder '{folder}'",
            hint="runs are kept in ./runs unless --out said otherwise; give their folder",
        )
    if (folder / "manifest.json").is_file():
        return [_row(folder)]
    return [_row(path.parent) for path in sorted(folder.glob("*/manifest.json"))]


def show_run(folder: Path) -> RunDetails:
    """Return what is known of a run.

    Raises:
        DataError: the folder holds no run, or its manifest was changed by hand.
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


def _row(folder: Path) -> dict[str, Any]:
    run = RunLayout(folder)
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    try:
        manifest = read_manifest(run.manifest)
    except TltoolError as error:
        return {"run": str(folder), "status": "unreadable", "error": error.message, "bytes": size}
    metrics = _metrics(run) or {}
    return {
        "run": str(folder),
        "status": _status(folder, manifest.status),
        "started": manifest.started,
        "backbone": manifest.backbone["name"] if manifest.backbone else None,
        "accuracy": metrics.get("accuracy", {}).get("value"),
        "log_loss": metrics.get("log_loss"),
        "bytes": size,
    }


def _status(folder: Path, recorded: str) -> str:
    """Return the actual status: a run recorded as running may have been killed."""
    if recorded == "running" and not is_locked(folder):
        return "interrupted"
    return recorded


def _metrics(run: RunLayout) -> Mapping[str, Any] | None:
    try:
        return dict(from_json(run.metrics.read_text(encoding="utf-8")))
    except (OSError, ValueError):
        return None
