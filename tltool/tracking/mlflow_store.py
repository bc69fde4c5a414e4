"""MLflow: parameters, figures and files of a run, in ./mlruns or where MLFLOW_TRACKING_URI says."""

from __future__ import annotations

import importlib.util
import json
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import yaml

import tltool
from tltool.errors import EnvironmentProblem, UsageError
from tltool.runs.layout import RunLayout

EXPERIMENT = "tltool"  # unless MLFLOW_EXPERIMENT_NAME says otherwise
_STATUS = {"finished": "FINISHED", "failed": "FAILED", "interrupted": "KILLED"}
_DATABASES = {"sqlite", "postgresql", "mysql", "mssql"}
_SETTINGS = {
    # it would open a connection of its own
    "MLFLOW_DISABLE_TELEMETRY": "true",
    # MLflow 3 has come to refuse a folder of files unless asked for it
    "MLFLOW_ALLOW_FILE_STORE": "true",
    # by default a server that is gone holds up the training for minutes
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
}


def check_mlflow(*, offline: bool) -> None:
    """Refuse MLflow where it cannot work.

    Raises:
        EnvironmentProblem: it, or what its database needs, is not installed.
        UsageError: its server is on a network that ``offline`` forbids.
    """
    if importlib.util.find_spec("mlflow") is None:
        raise EnvironmentProblem(
            "--track mlflow needs MLflow, which is not installed",
            hint="pip install 'tltool[mlflow]'",
        )
    uri = tracking_uri()
    scheme = urlsplit(uri).scheme.partition("+")[0]
    if scheme in _DATABASES and importlib.util.find_spec("sqlalchemy") is None:
        raise EnvironmentProblem(
            f"MLFLOW_TRACKING_URI names a {scheme} database, for which tltool's MLflow is too slim",
            hint="pip install mlflow, or unset MLFLOW_TRACKING_URI to write into ./mlruns",
        )
    local = scheme in ("", "file", "sqlite") and not uri.startswith("databricks")
    if offline and not local:
        raise UsageError(
            "--track mlflow would connect to MLFLOW_TRACKING_URI, and offline was asked for",
            hint="unset MLFLOW_TRACKING_URI to write into ./mlruns",
        )


def tracking_uri() -> str:
    """Return where MLflow keeps runs."""
    return os.environ.get("MLFLOW_TRACKING_URI") or (Path.cwd() / "mlruns").as_uri()


def public_uri() -> str:
    """Return the tracking URI as it may stand in a file: without a user's name and password."""
    parts = urlsplit(tracking_uri())
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()


class MlflowStore:
    """Logs one run to MLflow; ``<run>/mlflow.json`` names it there.

    A resumed run goes on in the MLflow run of that file and repeats no step that it has.
    """

    title = "MLflow"

    def __init__(self, run: RunLayout) -> None:
        self._run, self._noted = run, run.folder / "mlflow.json"
        self._client: Any = None
        self._id = ""
        self._written: set[tuple[str, int]] = set()

    def epoch(self, phase: str, epoch: int, metrics: Mapping[str, float]) -> None:
        """Log every figure under ``PHASE/MEASURE``."""
        self._log(epoch, {f"{phase}/{name}": value for name, value in metrics.items()})

    def results(self, figures: Mapping[str, float], plots: Sequence[Path]) -> None:
        """Log the final figures, and the files that a reader wants at hand."""
        self._log(0, figures)
        for path in (self._run.recipe, self._run.metrics, self._run.history):
            if path.is_file():
                self._client.log_artifact(self._id, str(path))
        for path in plots:
            self._client.log_artifact(self._id, str(path), "plots")

    def close(self, outcome: str) -> None:
        """Tell MLflow how it ended."""
        if self._client is not None:
            self._client.set_terminated(self._id, _STATUS[outcome])

    def _log(self, step: int, figures: Mapping[str, float]) -> None:
        self._open()
        from mlflow.entities import Metric

        now = round(time.time() * 1000)
        new = [name for name in figures if (name, step) not in self._written]
        self._client.log_batch(
            self._id, metrics=[Metric(name, figures[name], now, step) for name in new]
        )
        self._written.update((name, step) for name in new)

    def _open(self) -> None:
        if self._client is not None:
            return
        for name, value in _SETTINGS.items():
            os.environ.setdefault(name, value)
        from mlflow import MlflowClient

        client = MlflowClient(tracking_uri=tracking_uri())
        known = self._known_id()
        if known is None:
            self._id = self._create(client)
        else:
            self._id = known
            client.update_run(known, status="RUNNING")
            self._written = set(_written_steps(client, known))
        self._client = client

    def _known_id(self) -> str | None:
        """Return the MLflow run that an earlier part of this run was logged to."""
        if not self._noted.is_file():
            return None
        noted = json.loads(self._noted.read_text(encoding="utf-8"))
        return noted["run_id"] if noted["tracking_uri"] == public_uri() else None

    def _create(self, client: Any) -> str:
        from mlflow.entities import Param

        name = os.environ.get("MLFLOW_EXPERIMENT_NAME") or EXPERIMENT
        found = client.get_experiment_by_name(name)
        experiment = found.experiment_id if found else client.create_experiment(name)
        tags = {
            "mlflow.source.name": f"tltool {tltool.__version__}",
            "tltool.run": str(self._run.folder.absolute()),
        }
        made = client.create_run(experiment, run_name=self._run.folder.absolute().name, tags=tags)
        settings = yaml.safe_load(self._run.recipe.read_text(encoding="utf-8"))
        params = [Param(key, value) for key, value in flattened(settings)]
        client.log_batch(made.info.run_id, params=params)
        document = {"tracking_uri": public_uri(), "run_id": made.info.run_id}
        self._noted.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
        return str(made.info.run_id)


def flattened(settings: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, str]]:
    """Yield a recipe's keys as ``train.head.epochs`` with their values as text."""
    for key, value in settings.items():
        if isinstance(value, Mapping):
            yield from flattened(value, f"{above}{key}.")
        else:
            yield f"{above}{key}", value if isinstance(value, str) else json.dumps(value)


def _written_steps(client: Any, run_id: str) -> Iterator[tuple[str, int]]:
    for name in client.get_run(run_id).data.metrics:
        yield from ((name, metric.step) for metric in client.get_metric_history(run_id, name))
