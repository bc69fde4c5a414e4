"""The names in a run folder, once."""

from __future__ import annotations

import datetime
import shutil
from dataclasses import dataclass
from pathlib import Path

from tltool.errors import EnvironmentProblem, UsageError

MODEL_FILE = "model.keras"
DESCRIPTION_FILE = "artifact.json"
CALIBRATION_FILE = "calibration.npz"
GROUP_FILE = "group.json"
"""In the folder of a group of runs: a sweep or a cross-validation."""


@dataclass(frozen=True)
class RunLayout:
    """Paths inside the folder of one run."""

    folder: Path

    @property
    def recipe(self) -> Path:
        """The fully resolved recipe."""
        return self.folder / "recipe.yaml"

    @property
    def manifest(self) -> Path:
        """Digests, versions, machine, seeds, timings."""
        return self.folder / "manifest.json"

    @property
    def split(self) -> Path:
        """Which image went into which part."""
        return self.folder / "split.csv"

    @property
    def issues(self) -> Path:
        """What the audit found."""
        return self.folder / "data_issues.csv"

    @property
    def history(self) -> Path:
        """One row per epoch."""
        return self.folder / "history.csv"

    @property
    def metrics(self) -> Path:
        """The final evaluation."""
        return self.folder / "metrics.json"

    @property
    def predictions(self) -> Path:
        """One row per image of the final evaluation."""
        return self.folder / "predictions.csv"

    @property
    def validation(self) -> Path:
        """One row per validation image: what the best model reached before calibration."""
        return self.folder / "validation.csv"

    @property
    def report(self) -> Path:
        """The final evaluation as a page."""
        return self.folder / "report.html"

    @property
    def label_errors(self) -> Path:
        """Training and validation images whose labels are probably wrong, the surest first."""
        return self.folder / "label_errors.csv"

    @property
    def plots(self) -> Path:
        """Folder of the plots."""
        return self.folder / "plots"

    @property
    def cache(self) -> Path:
        """Folder of activations while training; removed at the end."""
        return self.folder / "cache"

    @property
    def state(self) -> Path:
        """How far the run has come; removed at the end."""
        return self.folder / "state"

    @property
    def log(self) -> Path:
        """What was reported while it ran."""
        return self.folder / "log.txt"


def create_run(out: Path | None, name: str, *, now: datetime.datetime) -> RunLayout:
    """Make the folder of a new run: ``out``, or ``runs/name-UTC`` without it.

    Raises:
        UsageError: ``out`` is a file or a folder that is not empty.
        EnvironmentProblem: it cannot be made.
    """
    check_run_folder(out)
    folder = out or _unused(Path("runs") / f"{name}-{now:%Y%m%d-%H%M%S}")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise EnvironmentProblem(
            f"the run folder '{folder}' cannot be made: {error.strerror}",
            hint="choose a folder that you may write to with --out",
        ) from None
    return RunLayout(folder)


def check_run_folder(out: Path | None) -> None:
    """Check that a folder can be that of a new run.

    Raises:
        UsageError: ``out`` is a file or a folder that is not empty.
    """
    if out is None or not out.exists():
        return
    if not out.is_dir():
        raise UsageError(f"'{out}' is a file, not a folder", hint="choose another --out")
    if any(out.iterdir()):
        raise UsageError(
            f"the run folder '{out}' exists and is not empty",
            hint="give another --out; nothing in it was touched",
        )


def discard_run(run: RunLayout) -> None:
    """Delete a folder that ``create_run`` made or found empty: all in it is the run's own."""
    shutil.rmtree(run.folder, ignore_errors=True)


def _unused(folder: Path) -> Path:
    """Return ``folder``, or with a number behind it when two runs start in one second."""
    candidate, number = folder, 1
    while candidate.exists():
        number += 1
        candidate = folder.with_name(f"{folder.name}-{number}")
    return candidate
