"""The names in a run folder, once."""

from __future__ import annotations

import datetime
import shutil
from dataclasses import dataclass
from pathlib import Path

from tltool.errors import EnvironmentProblem, UsageError
from tltool.runs.lock import NAME as LOCK_FILE
from tltool.storage.durable import is_unfinished

MODEL_FILE = "model.keras"
DESCRIPTION_FILE = "artifact.json"
CALIBRATION_FILE = "calibration.npz"
SEAL_FILE = "seal.json"
"""Digests of the three files above."""
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
    def backbone(self) -> Path:
        """Folder of a copy of the user's own backbone; absent for one of the registry."""
        return self.folder / "backbone"

    @property
    def corrections(self) -> Path:
        """A copy of the corrections of labels; absent for a run without them."""
        return self.folder / "corrections.csv"

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


RUN_NAMES = frozenset(
    (
        "recipe.yaml", "manifest.json", "split.csv", "data_issues.csv", "history.csv",
        "metrics.json", "predictions.csv", "validation.csv", "report.html", "label_errors.csv",
        "log.txt", "learning_rates.csv", "learning_rates.png", "mlflow.json", "wandb.json",
        "corrections.csv", "backbone", "plots", "cache", "state", "tensorboard", "wandb",
        LOCK_FILE, MODEL_FILE, DESCRIPTION_FILE, CALIBRATION_FILE, SEAL_FILE,
    )
)  # fmt: skip
"""Names of all files and folders that a run writes into its folder."""

_ARRAYS = ("*.bin", "*.npy", "*.npz", "*.json", "*.keras", "*.h5")
FILES_IN: dict[str, tuple[str, ...]] = {
    "plots": ("confusion_matrix.png", "history.png"),
    "tensorboard": ("events.out.tfevents.*",),
    **dict.fromkeys(("backbone", "state"), _ARRAYS),
    "cache": (*_ARRAYS, "*.shard"),
}
"""Patterns of the files in folders of a run; in its other folders it may write any file."""


def is_artifact(folder: Path) -> bool:
    """Whether ``folder`` contains a trained model."""
    return (folder / DESCRIPTION_FILE).is_file() and (folder / MODEL_FILE).is_file()


def create_run(out: Path | None, name: str, *, now: datetime.datetime) -> RunLayout:
    """Make the folder of a new run: ``out``, or ``runs/name-UTC`` without it.

    Without ``out`` the folder belongs to this call alone, also if runs start in the same second.
    With ``out`` another process may have found it empty too: ``check_unused`` under its lock
    decides.

    Raises:
        UsageError: ``out`` is a file or a folder that is not empty.
        EnvironmentProblem: it cannot be made.
    """
    check_run_folder(out)
    folder = out or Path("runs") / f"{name}-{now:%Y%m%d-%H%M%S}"
    try:
        if out is not None:
            folder.mkdir(parents=True, exist_ok=True)
        else:
            folder = make_new_folder(folder)
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
    check_unused(out)


def check_unused(folder: Path) -> None:
    """Check that a folder is empty, or holds only what a run left that was killed at its start.

    Raises:
        UsageError: it is not.
    """
    names = {path.name for path in folder.iterdir() if not is_unfinished(path.name)}
    run = RunLayout(folder)
    # the recipe is written after these
    started = {LOCK_FILE, run.manifest.name, run.backbone.name, run.corrections.name}
    if names and not (LOCK_FILE in names and names <= started):
        raise UsageError(
            f"the run folder '{folder}' exists and is not empty",
            hint="give another --out; nothing in it was touched",
        )


def discard_run(run: RunLayout) -> None:
    """Delete a folder that ``create_run`` made or found empty: all in it is the run's own."""
    shutil.rmtree(run.folder, ignore_errors=True)


def make_new_folder(folder: Path) -> Path:
    """Make ``folder``, or one with a number behind its name where it exists; return it.

    No two calls get the same folder: making it is what decides, not a look before.

    Raises:
        OSError: it cannot be made.
    """
    candidate, number = folder, 1
    while True:
        try:
            candidate.mkdir(parents=True)
        except FileExistsError:
            number += 1
            candidate = folder.with_name(f"{folder.name}-{number}")
        else:
            return candidate
