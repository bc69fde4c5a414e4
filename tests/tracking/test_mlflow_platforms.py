"""Runs that MLflow's tools have created, logged models, and the model registry."""

from __future__ import annotations

import base64
import json
import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd
import pytest
import tensorflow as tf

from tests.conftest import small_manifest
from tests.export.tiny_classifier import encoded, export, tiny_model
from tltool.errors import EnvironmentProblem, UsageError
from tltool.events import SilentObserver
from tltool.runs.layout import RunLayout
from tltool.runs.manifest import write_manifest
from tltool.tracking.mlflow_store import MlflowStore
from tltool.tracking.observer import check_trackers, tracked


@pytest.fixture(name="client")
def _client(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> mlflow.MlflowClient:
    """MLflow's client of a folder that tltool logs to."""
    for name in ("RUN_ID", "EXPERIMENT_ID", "EXPERIMENT_NAME", "REGISTRY_URI"):
        monkeypatch.delenv(f"MLFLOW_{name}", raising=False)
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", (tmp_path / "mlruns").as_uri())
    return mlflow.MlflowClient()


@pytest.fixture(scope="session", name="exported")
def _exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = export(tiny_model(), tmp_path_factory.mktemp("saved_models") / "tiny", top_k=2)
    (folder / "assets" / "golden.npz").write_bytes(b"images of the data set")
    return folder


def log_epoch(run: RunLayout) -> str:
    """Log one epoch of ``run``; return the id of the MLflow run."""
    store = MlflowStore(run)
    store.epoch("head", 1, {"loss": 1.0})
    store.close("finished")
    return json.loads((run.folder / "mlflow.json").read_text())["run_id"]


def another(run: RunLayout, name: str) -> RunLayout:
    layout = RunLayout(run.folder.parent / name)
    layout.folder.mkdir()
    layout.recipe.write_bytes(run.recipe.read_bytes())
    return layout


def test_the_run_of_the_variable_gets_metrics_and_parameters(run, client, monkeypatch):
    experiment = client.create_experiment("given")
    given = client.create_run(experiment).info.run_id
    client.log_param(given, "seed", "another value")  # as `mlflow run -P seed=…` does
    monkeypatch.setenv("MLFLOW_RUN_ID", given)
    monkeypatch.setenv("MLFLOW_EXPERIMENT_ID", experiment)
    assert log_epoch(run) == given
    logged = client.get_run(given)
    assert logged.data.metrics == {"head/loss": 1.0}
    assert logged.data.params["seed"] == "another value"
    assert logged.data.params["name"] == "quick"
    assert logged.data.tags["tltool.run"] == str(run.folder)
    assert logged.info.status == "FINISHED"
    assert client.get_experiment_by_name("tltool") is None


def test_further_runs_become_children_of_the_run_of_the_variable(run, client, monkeypatch):
    given = client.create_run(client.create_experiment("given")).info.run_id
    monkeypatch.setenv("MLFLOW_RUN_ID", given)
    assert log_epoch(run) == given
    fold = log_epoch(another(run, "fold-1"))
    assert fold != given
    child = client.get_run(fold)
    assert child.data.tags["mlflow.parentRunId"] == given
    assert child.info.experiment_id == client.get_run(given).info.experiment_id
    assert log_epoch(run) == given  # a resumed run goes on where it was


def test_the_experiment_of_the_variable(run, client, monkeypatch):
    experiment = client.create_experiment("given")
    monkeypatch.setenv("MLFLOW_EXPERIMENT_ID", experiment)
    assert client.get_run(log_epoch(run)).info.experiment_id == experiment


@pytest.mark.parametrize(
    ("variables", "reason"),
    [
        ({"MLFLOW_EXPERIMENT_ID": "0", "MLFLOW_EXPERIMENT_NAME": "b"}, "unset one of them"),
        ({"MLFLOW_EXPERIMENT_ID": "77"}, "77"),
        ({"MLFLOW_RUN_ID": "0" * 32}, "0" * 32),
    ],
)
def test_variables_that_fit_to_nothing_are_a_warning(run, client, monkeypatch, variables, reason):
    client.search_experiments()  # creates experiment 0
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    warnings: list[str] = []

    class Recording(SilentObserver):
        def on_message(self, text, *, level="info"):
            warnings.append(text)

    with tracked(run, Recording(), tensorboard=False, track=["mlflow"]) as observer:
        observer.on_phase("head")
        observer.on_epoch(1, 9, {"loss": 1.0})
    (warning,) = warnings
    assert "MLflow failed and is disabled" in warning
    assert reason in warning
    assert not (run.folder / "mlflow.json").exists()


def finish(run: RunLayout, exported: Path, **options: Any) -> str:
    """Log a finished run with an export; return the id of the MLflow run."""
    manifest = small_manifest(export=str(exported))
    write_manifest(run.manifest, replace(manifest, status="finished"))
    said: list[str] = []

    class Recording(SilentObserver):
        def on_message(self, text, *, level="info"):
            said.append(text)

    with tracked(run, Recording(), tensorboard=True, track=["mlflow"], **options) as observer:
        observer.on_phase("head")
        observer.on_epoch(1, 9, {"loss": 1.0})
    run_id = json.loads((run.folder / "mlflow.json").read_text())["run_id"]
    (sentence,) = said
    assert f"runs:/{run_id}/model, registered as models:/ants/" in sentence
    return run_id


@pytest.mark.thorough
@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # of MLflow, about its own environment
def test_the_export_is_logged_as_a_model_and_registered(run, client, exported):
    run_id = finish(run, exported, register="ants")
    finish(another(run, "again"), exported, register="ants")
    versions = client.search_model_versions("name = 'ants'")
    assert sorted(int(one.version) for one in versions) == [1, 2]
    assert [one.run_id for one in versions if int(one.version) == 1] == [run_id]
    paths = {one.path for one in client.list_artifacts(run_id, "model")}
    assert {"model/MLmodel", "model/code", "model/requirements.txt"} <= paths
    model = mlflow.pyfunc.load_model(f"runs:/{run_id}/model")
    signature = model.metadata.signature
    assert signature.inputs.to_dict() == [
        {"type": "binary", "name": "image_bytes", "required": True}
    ]
    photos = [encoded(1), encoded(2), b"junk"]
    frame = model.predict(pd.DataFrame({"image_bytes": photos}))
    loaded = tf.saved_model.load(str(exported))
    expected = loaded.signatures["serving_default"](image_bytes=tf.constant(photos))
    assert set(frame.columns) == set(expected) == set(signature.outputs.input_names())
    assert frame["ok"].tolist() == [True, True, False]
    assert frame["class_name"].tolist() == [one.decode() for one in expected["class_name"].numpy()]
    np.testing.assert_allclose(frame["probabilities"].tolist(), expected["probabilities"])
    assert len(frame["top_class_names"][0]) == 2
    registered = mlflow.pyfunc.load_model("models:/ants/1")
    assert registered.predict(pd.DataFrame({"image_bytes": photos})).equals(frame)


@pytest.mark.thorough
@pytest.mark.filterwarnings("ignore")  # of MLflow, about its own environment
def test_the_documented_program_runs_as_written(run, client, exported, tmp_path):
    """In the folder with ``mlruns``, and without any variable of MLflow."""
    finish(run, exported, register="ants")
    (tmp_path / "new.jpg").write_bytes(encoded(1))
    page = (Path(__file__).parents[2] / "docs" / "tracking.md").read_text(encoding="utf-8")
    (program,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    variables = {k: v for k, v in os.environ.items() if not k.startswith("MLFLOW_")}
    done = subprocess.run(
        (sys.executable, "-c", program),
        cwd=tmp_path,
        env={**variables, "MLFLOW_DISABLE_TELEMETRY": "true"},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert "class_name" in done.stdout and "1 rows" in done.stdout


@pytest.mark.parametrize(
    ("broken", "reason"),
    [
        ("tltool.tracking.mlflow_model.log_model", "403: no access"),
        ("tltool.tracking.mlflow_store.can_log_models", "needs pandas"),
    ],
)
def test_a_model_that_is_not_taken_is_a_warning(run, client, exported, monkeypatch, broken, reason):
    def fail(*arguments):
        if arguments:
            raise OSError("403: no access\nmore")
        return False

    monkeypatch.setattr(broken, fail)
    warnings: list[str] = []

    class Recording(SilentObserver):
        def on_message(self, text, *, level="info"):
            warnings.append(f"{level}: {text}")

    write_manifest(run.manifest, small_manifest(export=str(exported)))
    with tracked(run, Recording(), tensorboard=False, track=["mlflow"]) as observer:
        observer.on_phase("head")
        observer.on_epoch(1, 9, {"loss": 1.0})
    (warning,) = warnings
    assert warning.startswith("warning: MLflow has not taken the model; the run continues: ")
    assert reason in warning
    run_id = json.loads((run.folder / "mlflow.json").read_text())["run_id"]
    assert client.get_run(run_id).info.status == "FINISHED"


@pytest.mark.filterwarnings("ignore")
def test_the_logged_model_contains_no_image_of_the_data_set(exported, tmp_path):
    from tltool.tracking.mlflow_model import write_model

    write_model(exported, tmp_path / "model")
    names = {path.name for path in (tmp_path / "model").rglob("*")}
    assert {"MLmodel", "tltool_classifier.py", "class_names.json", "saved_model.pb"} <= names
    assert "golden.npz" not in names


@pytest.fixture(scope="module", name="loader")
def _loader(exported: Path) -> Any:
    from tltool.tracking.pyfunc.tltool_classifier import _load_pyfunc

    return _load_pyfunc(str(exported))


@pytest.mark.parametrize(
    "content",
    [
        {"image_bytes": [encoded(1)]},
        {"image_bytes": base64.b64encode(encoded(1)).decode()},
        [encoded(1)],
        encoded(1),
        pd.Series([encoded(1)]),
    ],
)
def test_the_loader_takes_what_scoring_servers_send(loader, content):
    assert loader.predict(content)["ok"].tolist() == [True]


@pytest.mark.parametrize(
    ("content", "message"), [({"x": [1]}, "it needs image_bytes"), (["*"], "base64")]
)
def test_the_loader_names_what_is_wrong(loader, content, message):
    with pytest.raises(ValueError, match=message):
        loader.predict(content)


def test_register_needs_mlflow_and_pandas(client, monkeypatch):
    check_trackers(["mlflow"], offline=True, register="ants")
    for track in ([], ["wandb"]):
        with pytest.raises(UsageError, match="not logged to MLflow"):
            check_trackers(track, offline=True, register="ants")
    monkeypatch.setattr("tltool.tracking.mlflow_store.can_log_models", lambda: False)
    with pytest.raises(EnvironmentProblem, match="needs pandas"):
        check_trackers(["mlflow"], offline=True, register="ants")
    check_trackers(["mlflow"], offline=True)
