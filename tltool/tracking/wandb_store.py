"""Log parameters, metrics and files of a run to Weights & Biases."""

from __future__ import annotations

import importlib.util
import json
import netrc
import os
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import yaml

from tltool.errors import EnvironmentProblem, UsageError
from tltool.runs.install_hint import install_hint
from tltool.runs.layout import RunLayout
from tltool.runs.offline import is_offline
from tltool.storage.durable import write_durably

PROJECT = "tltool"  # unless WANDB_PROJECT is set
_HOST = "https://api.wandb.ai"  # unless WANDB_BASE_URL is set
_LOCAL_MODES = ("offline", "disabled", "dryrun")


def check_wandb(*, offline: bool) -> None:
    """Check that Weights & Biases can be used without a question at the terminal.

    Args:
        offline: open no connection; the run is then recorded in its folder.

    Raises:
        EnvironmentProblem: wandb is not installed.
        UsageError: there is no API key.
    """
    spec = importlib.util.find_spec("wandb")
    if spec is None or spec.origin is None:  # without an origin it is a folder of wandb's runs
        raise EnvironmentProblem(
            "--track wandb needs Weights & Biases, which is not installed",
            hint=install_hint("wandb"),
        )
    if not offline and _mode() not in _LOCAL_MODES and not _has_key():
        raise UsageError(
            "--track wandb finds no API key of Weights & Biases",
            hint="run `wandb login`, or record the run on this machine: WANDB_MODE=offline",
        )


def _mode() -> str:
    return os.environ.get("WANDB_MODE", "online").lower()


def _has_key() -> bool:
    if os.environ.get("WANDB_API_KEY"):
        return True
    host = urlsplit(os.environ.get("WANDB_BASE_URL") or _HOST).hostname or ""
    path = Path(os.environ.get("NETRC") or Path.home() / ".netrc")
    try:
        return host in netrc.netrc(str(path)).hosts
    except (OSError, netrc.NetrcParseError):
        return False


class WandbStore:
    """Logs one run to Weights & Biases; ``<run>/wandb.json`` has its id and the last epochs.

    A resumed run continues the same run and does not repeat epochs. Without a network the run is
    recorded in ``<run>/wandb`` (or WANDB_DIR), and ``wandb sync`` uploads it.

    Args:
        run: the run.
        offline: open no connection.
    """

    title = "Weights & Biases"

    def __init__(self, run: RunLayout, *, offline: bool) -> None:
        self._run, self._state_file = run, run.folder / "wandb.json"
        self._offline = offline or is_offline()
        self._wandb_run: Any = None
        self._state: dict[str, Any] = {}

    def epoch(self, phase: str, epoch: int, metrics: Mapping[str, float]) -> None:
        """Log every metric as ``PHASE/METRIC``, over ``PHASE/epoch``."""
        self._open()
        if epoch <= self._state["epochs"].get(phase, 0):
            return
        self._wandb_run.define_metric(f"{phase}/*", step_metric=f"{phase}/epoch")
        values = {f"{phase}/{name}": value for name, value in metrics.items()}
        self._wandb_run.log({**values, f"{phase}/epoch": epoch})
        self._state["epochs"][phase] = epoch
        self._write_state()

    def results(self, figures: Mapping[str, float], plots: Sequence[Path]) -> None:
        """Log the final metrics, the recipe, metrics.json, history.csv and the plots."""
        self._open()
        import wandb

        self._wandb_run.summary.update(dict(figures))
        self._wandb_run.log({f"plots/{one.stem}": wandb.Image(str(one)) for one in plots})
        artifact = wandb.Artifact(f"run-{self._state['run_id']}", type="run")
        for path in (self._run.recipe, self._run.metrics, self._run.history):
            if path.is_file():
                artifact.add_file(str(path))
        self._wandb_run.log_artifact(artifact)

    def model(self, export: Path) -> str | None:
        """Log nothing: the model stays on this machine."""
        del export
        return None

    def close(self, outcome: str) -> None:
        """End the run."""
        if self._wandb_run is not None:
            self._wandb_run.finish(exit_code=0 if outcome == "finished" else 1)

    def _open(self) -> None:
        if self._wandb_run is not None:
            return
        import wandb

        project = os.environ.get("WANDB_PROJECT") or PROJECT
        self._state = self._read_state(project)
        settings = yaml.safe_load(self._run.recipe.read_text(encoding="utf-8"))
        self._wandb_run = wandb.init(
            project=project,
            id=self._state["run_id"],
            name=self._run.folder.absolute().name,
            dir=os.environ.get("WANDB_DIR") or str(self._run.folder.absolute()),
            config=settings,
            resume="allow",
            mode="offline" if self._offline else None,
            # the terminal belongs to tltool, and source code is not for upload
            settings=wandb.Settings(
                silent=True,
                console="off",
                disable_code=True,
                disable_git=True,
                disable_job_creation=True,
            ),
        )
        self._write_state()

    def _read_state(self, project: str) -> dict[str, Any]:
        """Return id and last epochs of an earlier part of this run, or those of a new one."""
        if self._state_file.is_file():
            document: dict[str, Any] = json.loads(self._state_file.read_text(encoding="utf-8"))
            if document["project"] == project:
                return document
        return {"project": project, "run_id": uuid.uuid4().hex[:8], "epochs": {}}

    def _write_state(self) -> None:
        text = json.dumps(self._state, indent=2)
        write_durably(self._state_file, f"{text}\n".encode())
