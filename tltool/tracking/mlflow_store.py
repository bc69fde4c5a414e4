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
from tltool.runs.install_hint import install_hint
from tltool.runs.layout import RunLayout
from tltool.storage.durable import write_durably
from tltool.tracking.recipe_parameters import flattened

EXPERIMENT = "tltool"  # unless a variable of MLflow names another
_MAX_PARAMETERS = 100  # that a server takes at once
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


def check_mlflow(*, offline: bool, register: bool = False) -> None:
    """Check that MLflow can be used.

    Args:
        offline: open no connection.
        register: whether the model is to be registered.

    Raises:
        EnvironmentProblem: MLflow, or a package that its database needs, is not installed.
        UsageError: the tracking server needs a network connection, and ``offline`` is set.
    """
    if importlib.util.find_spec("mlflow") is None:
        raise EnvironmentProblem(
            "--track mlflow needs MLflow, which is not installed",
            hint=install_hint("mlflow"),
        )
    if register and not can_log_models():
        raise EnvironmentProblem(
            "--register needs pandas, with which MLflow writes models, and it is not installed",
            hint=install_hint("mlflow"),
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


def can_log_models() -> bool:
    """Whether the package that MLflow needs for models is installed."""
    return importlib.util.find_spec("pandas") is not None


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

    Args:
        run: the run.
        register: name of the registered model that gets the exported model as its next version.
    """

    title = "MLflow"

    def __init__(self, run: RunLayout, *, register: str | None = None) -> None:
        self._run, self._id_file = run, run.folder / "mlflow.json"
        self._register = register
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

    def model(self, export: Path) -> str | None:
        """Log the exported model, and register it; return a sentence about it.

        Raises:
            ValueError: a package that MLflow needs for models is not installed.
        """
        self._open()
        if not can_log_models():
            raise ValueError(
                "the model is not logged, because MLflow needs pandas for it: "
                f"{install_hint('mlflow')}"
            )
        from tltool.tracking.mlflow_model import ARTIFACT, log_model, register_model

        log_model(self._client, self._id, export)
        logged = f"model logged to MLflow: runs:/{self._id}/{ARTIFACT}"
        if self._register is None:
            return logged
        version = register_model(self._client, self._id, self._register)
        return f"{logged}, registered as models:/{self._register}/{version}"

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
        """Return the id of a new MLflow run, or of the run in MLFLOW_RUN_ID."""
        tags = {
            "mlflow.source.name": f"tltool {tltool.__version__}",
            "tltool.run": str(self._run.folder.absolute()),
        }
        run = _given_run(client, tags)
        if run is None:
            name = self._run.folder.absolute().name
            run = client.create_run(_experiment_id(client), run_name=name, tags=tags)
        run_id = str(run.info.run_id)
        _log_parameters(client, run, self._run)
        document = {"tracking_uri": public_uri(), "run_id": run_id}
        write_durably(self._id_file, f"{json.dumps(document, indent=2)}\n".encode())
        return run_id


def _given_run(client: Any, tags: dict[str, str]) -> Any:
    """Return the run in MLFLOW_RUN_ID; None without the variable, or if another run has taken it.

    `mlflow run`, Azure ML and Databricks create a run and set the variable. The first run of tltool
    logs to it; further ones, such as the folds of a cross-validation, become its children, for
    which a tag is added to ``tags``.
    """
    given = os.environ.get("MLFLOW_RUN_ID")
    if not given:
        return None
    run = client.get_run(given)
    if run.data.tags.get("tltool.run", tags["tltool.run"]) != tags["tltool.run"]:
        tags["mlflow.parentRunId"] = given
        return None
    for key, value in tags.items():
        client.set_tag(given, key, value)
    client.update_run(given, status="RUNNING")
    return run


def _experiment_id(client: Any) -> str:
    """Return the experiment of MLFLOW_RUN_ID, MLFLOW_EXPERIMENT_ID or MLFLOW_EXPERIMENT_NAME.

    Raises:
        ValueError: the two variables of the experiment differ.
    """
    given_run = os.environ.get("MLFLOW_RUN_ID")
    if given_run:
        return str(client.get_run(given_run).info.experiment_id)
    given, name = os.environ.get("MLFLOW_EXPERIMENT_ID"), os.environ.get("MLFLOW_EXPERIMENT_NAME")
    if given:
        experiment = client.get_experiment(given)
        if name and experiment.name != name:
            raise ValueError(
                f"MLFLOW_EXPERIMENT_ID {given} is the experiment '{experiment.name}', but "
                f"MLFLOW_EXPERIMENT_NAME is '{name}'; unset one of them"
            )
        return str(experiment.experiment_id)
    existing = client.get_experiment_by_name(name or EXPERIMENT)
    return str(existing.experiment_id if existing else client.create_experiment(name or EXPERIMENT))


def _log_parameters(client: Any, run: Any, layout: RunLayout) -> None:
    """Log the recipe; parameters that a given run has already keep their values."""
    from mlflow.entities import Param

    settings = yaml.safe_load(layout.recipe.read_text(encoding="utf-8"))
    params = [Param(key, value) for key, value in flattened(settings) if key not in run.data.params]
    for start in range(0, len(params), _MAX_PARAMETERS):
        client.log_batch(run.info.run_id, params=params[start : start + _MAX_PARAMETERS])


def _written_steps(client: Any, run_id: str) -> Iterator[tuple[str, int]]:
    for name in client.get_run(run_id).data.metrics:
        yield from ((name, metric.step) for metric in client.get_metric_history(run_id, name))
