"""Log parameters, metrics and files of a run to MLflow: ./mlruns or MLFLOW_TRACKING_URI."""

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

EXPERIMENT = "tltool"  # unless MLFLOW_EXPERIMENT_NAME is set
_STATUS = {"finished": "FINISHED", "failed": "FAILED", "interrupted": "KILLED"}
_DATABASES = {"sqlite", "postgresql", "mysql", "mssql"}
_SETTINGS = {
    # telemetry would open another connection
    "MLFLOW_DISABLE_TELEMETRY": "true",
    # MLflow 3 rejects a file store without this
    "MLFLOW_ALLOW_FILE_STORE": "true",
    # by default an unreachable server blocks the training for minutes
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
}


def check_mlflow(*, offline: bool) -> None:
    """Check that MLflow can be used.

    Raises:
        EnvironmentProblem: MLflow, or a package that its database needs, is not installed.
        UsageError: the tracking server needs a network connection, and ``offline`` is set.
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
            f"MLFLOW_TRACKING_URI is a {scheme} database, which mlflow-skinny does not support",
            hint="pip install mlflow, or unset MLFLOW_TRACKING_URI to write into ./mlruns",
        )
    local = scheme in ("", "file", "sqlite") and not uri.startswith("databricks")
    if offline and not local:
        raise UsageError(
            "--track mlflow would connect to MLFLOW_TRACKING_URI, but offline mode is on",
            hint="unset MLFLOW_TRACKING_URI to write into ./mlruns",
        )


def tracking_uri() -> str:
    """Return the URI of MLflow's tracking store."""
    return os.environ.get("MLFLOW_TRACKING_URI") or (Path.cwd() / "mlruns").as_uri()


def public_uri() -> str:
    """Return the tracking URI without user name and password, for files."""
    parts = urlsplit(tracking_uri())
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()


class MlflowStore:
    """Logs one run to MLflow; ``<run>/mlflow.json`` has the id of the MLflow run.

    A resumed run continues the MLflow run of that file and does not repeat steps.
    """

    title = "MLflow"

    def __init__(self, run: RunLayout) -> None:
        self._run, self._id_file = run, run.folder / "mlflow.json"
        self._client: Any = None
        self._id = ""
        self._written: set[tuple[str, int]] = set()

    def epoch(self, phase: str, epoch: int, metrics: Mapping[str, float]) -> None:
        """Log every metric as ``PHASE/METRIC``."""
        self._log(epoch, {f"{phase}/{name}": value for name, value in metrics.items()})

    def results(self, figures: Mapping[str, float], plots: Sequence[Path]) -> None:
        """Log the final metrics, the recipe, metrics.json, history.csv and the plots."""
        self._log(0, figures)
        for path in (self._run.recipe, self._run.metrics, self._run.history):
            if path.is_file():
                self._client.log_artifact(self._id, str(path))
        for path in plots:
            self._client.log_artifact(self._id, str(path), "plots")

    def close(self, outcome: str) -> None:
        """Set the status of the MLflow run."""
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
        existing = self._existing_id()
        if existing is None:
            self._id = self._create(client)
        else:
            self._id = existing
            client.update_run(existing, status="RUNNING")
            self._written = set(_written_steps(client, existing))
        self._client = client

    def _existing_id(self) -> str | None:
        """Return the id of the MLflow run to which an earlier part of this run was logged."""
        if not self._id_file.is_file():
            return None
        document = json.loads(self._id_file.read_text(encoding="utf-8"))
        return document["run_id"] if document["tracking_uri"] == public_uri() else None

    def _create(self, client: Any) -> str:
        from mlflow.entities import Param

        name = os.environ.get("MLFLOW_EXPERIMENT_NAME") or EXPERIMENT
        existing = client.get_experiment_by_name(name)
        experiment = existing.experiment_id if existing else client.create_experiment(name)
        tags = {
            "mlflow.source.name": f"tltool {tltool.__version__}",
            "tltool.run": str(self._run.folder.absolute()),
        }
        created = client.create_run(
            experiment, run_name=self._run.folder.absolute().name, tags=tags
        )
        settings = yaml.safe_load(self._run.recipe.read_text(encoding="utf-8"))
        params = [Param(key, value) for key, value in flattened(settings)]
        client.log_batch(created.info.run_id, params=params)
        document = {"tracking_uri": public_uri(), "run_id": created.info.run_id}
        self._id_file.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
        return str(created.info.run_id)


def flattened(settings: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, str]]:
    """Yield the keys of a recipe, such as ``train.head.epochs``, with their values as text."""
    for key, value in settings.items():
        if isinstance(value, Mapping):
            yield from flattened(value, f"{above}{key}.")
        else:
            yield f"{above}{key}", value if isinstance(value, str) else json.dumps(value)


def _written_steps(client: Any, run_id: str) -> Iterator[tuple[str, int]]:
    for name in client.get_run(run_id).data.metrics:
        yield from ((name, metric.step) for metric in client.get_metric_history(run_id, name))
