"""Amazon SageMaker and Google Vertex AI: their routes, variables and folders."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import tensorflow as tf

from tests.export.tiny_classifier import encoded, export, tiny_model
from tests.serving.conftest import SETTINGS
from tests.serving.live_server import Live, b64, form, serving, versions_of
from tltool.errors import DataError, EnvironmentProblem, UsageError
from tltool.serving.platforms import find_platform
from tltool.serving.remote_model import copy_model
from tltool.serving.settings import PlatformRoutes
from tltool.workflows.find_served_model import find_model_source, local_model
from tltool.workflows.serve import Address

PHOTO = encoded(1)
ROW = {"instances": [b64(PHOTO)]}
HEALTH = "/v1/endpoints/7/deployedModels/9"
VERTEX = {
    "AIP_HTTP_PORT": "8080",
    "AIP_HEALTH_ROUTE": HEALTH,
    "AIP_PREDICT_ROUTE": f"{HEALTH}:predict",
}


@pytest.fixture(scope="module")
def vertex(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    """A server with the routes of Vertex AI, of a model with the outputs top_…."""
    base = tmp_path_factory.mktemp("models") / "tiny"
    export(tiny_model(), base, top_k=3)
    settings = replace(SETTINGS, routes=PlatformRoutes(HEALTH, f"{HEALTH}:predict"))
    with serving(versions_of(base), settings) as running:
        yield running


def test_ping_says_whether_requests_may_be_sent(exported):
    with serving(versions_of(exported.parent), SETTINGS) as live:
        assert live.get("/ping").status == 200
        live.server._drain()
        for path in ("/ping", "/readyz", "/v2/health/ready", "/v2/models/tiny/ready"):
            assert live.get(path).status == 503
        assert live.get("/v1/models/tiny").json["ready"] is False
        assert live.get("/v2/health/live").status == 200


@pytest.mark.parametrize("kind", ["application/json", "application/json; charset=utf-8", ""])
def test_invocations_take_json(live, kind):
    answer = live.ask("POST", "/invocations", ROW, {"Content-Type": kind})
    assert (answer.status, answer.json) == (200, live.predict(ROW).json)
    assert answer.headers["content-type"] == "application/json"


@pytest.mark.parametrize("kind", ["application/x-image", "image/png", "application/octet-stream"])
def test_invocations_take_an_image(live, kind):
    answer = live.ask("POST", "/invocations", PHOTO, {"Content-Type": kind})
    assert (answer.status, answer.json) == (200, live.predict(ROW).json)


def test_invocations_take_a_form_with_images(live):
    body, kind = form({"a.png": PHOTO, "b.png": b"junk"})
    rows = live.ask("POST", "/invocations", body, {"Content-Type": kind}).json["predictions"]
    assert [row["ok"] for row in rows] == [True, False]


def test_invocations_reject_other_content(live):
    answer = live.ask("POST", "/invocations", b"1,2", {"Content-Type": "text/csv"})
    assert answer.status == 415
    assert "text/csv is not supported" in answer.error


def test_the_routes_of_vertex(vertex):
    assert vertex.get(HEALTH).json == {"status": "ready", "version": "1"}
    answer = vertex.ask("POST", f"{HEALTH}:predict", {**ROW, "parameters": None})
    assert (answer.status, answer.json) == (200, vertex.predict(ROW).json)


def test_parameters_choose_the_number_of_classes_and_the_signature(vertex):
    (full,) = vertex.predict(ROW).json["predictions"]
    answer = vertex.ask("POST", f"{HEALTH}:predict", {**ROW, "parameters": {"top": 1}})
    (row,) = answer.json["predictions"]
    assert row == {
        **full,
        "top_class_names": full["top_class_names"][:1],
        "top_probabilities": full["top_probabilities"][:1],
    }
    everything = {**ROW, "parameters": {"top": 99}}
    assert vertex.predict(everything).json["predictions"] == [full]
    features = {**ROW, "parameters": {"signature_name": "features"}}
    assert "features" in vertex.predict(features).json["predictions"][0]


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"confidenceThreshold": 0.5}, "There is no parameter 'confidenceThreshold'"),
        ({"top": 0}, "must be a positive integer, not 0"),
        ({"top": True}, "must be a positive integer, not true"),
        ({"top": 2, "signature_name": "features"}, "the signature features lacks"),
        ([1], "'parameters' must be an object"),
    ],
)
def test_an_invalid_parameter_is_never_ignored(vertex, parameters, message):
    answer = vertex.predict({**ROW, "parameters": parameters})
    assert answer.status == 400
    assert message in answer.error


@pytest.mark.parametrize("value", ["NaN", "1e39", "-Infinity"])
def test_pixels_that_are_not_finite_have_no_class(live, value):
    body = f'{{"signature_name": "images", "instances": [[[[1, 2, 3]]], [[[{value}, 2, 3]]]]}}'
    answer = live.predict(body.encode())
    assert answer.status == 400
    assert "no probabilities for item 1" in answer.error


def test_the_variables_of_vertex():
    platform = find_platform({**VERTEX, "AIP_STORAGE_URI": "gs://b/digits"})
    assert (platform.port, platform.model) == (8080, "gs://b/digits")
    assert platform.routes == PlatformRoutes(HEALTH, f"{HEALTH}:predict")
    assert find_platform({**VERTEX, "AIP_STORAGE_URI": ""}).model is None
    assert Address().on(platform) == Address("0.0.0.0", 8080)
    assert Address("127.0.0.1", 9000).on(platform) == Address("127.0.0.1", 9000)
    assert Address().on(None) == Address("127.0.0.1", 8501)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("AIP_HTTP_PORT", "http"),
        ("AIP_HTTP_PORT", "99999"),
        ("AIP_HEALTH_ROUTE", "health"),
        ("AIP_PREDICT_ROUTE", "/{name}"),
        ("SAGEMAKER_BIND_TO_PORT", "-1"),
    ],
)
def test_an_invalid_variable_is_named(name, value):
    with pytest.raises(UsageError, match=f"the environment variable {name} is"):
        find_platform({name: value})


def test_the_folder_of_sagemaker(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    model = tmp_path / "model"
    assert find_platform({}, sagemaker_model=model) is None
    model.mkdir()
    platform = find_platform({}, sagemaker_model=model)
    assert (platform.port, platform.model) == (8080, str(model))
    assert find_platform({}, sagemaker_model=model, model_given=True) is None
    own = find_platform({"SAGEMAKER_BIND_TO_PORT": "81"}, sagemaker_model=tmp_path / "none")
    assert (own.port, own.model) == (81, None)
    (tmp_path / "saved_models").mkdir()
    assert find_platform({}, sagemaker_model=model) is None


@pytest.mark.parametrize("inner", ["", "digits"])
def test_an_unpacked_archive_may_have_a_folder_more(exported, tmp_path, inner):
    shutil.copytree(exported, tmp_path / inner / "3")
    source = find_model_source(tmp_path, name=None, log=print)
    assert list(source.versions()) == [3]
    assert source.name == (inner or tmp_path.name)


def test_a_model_is_copied_from_object_storage(exported, tmp_path):
    """TensorFlow's file system in memory stands for Google Cloud Storage."""
    # that file system would list assets.extra/ in assets/ too, so the export has no digests
    paths = [one for one in exported.rglob("*") if one.is_file() and "extra" not in str(one)]
    for path in paths:
        name = f"ram://bucket/digits/4/{path.relative_to(exported)}"
        tf.io.gfile.makedirs(name.rpartition("/")[0])
        with tf.io.gfile.GFile(name, "wb") as file:
            file.write(path.read_bytes())
    assert copy_model("ram://bucket/digits/", tmp_path / "digits") == len(paths) > 3
    source = find_model_source(tmp_path / "digits", name=None, log=print)
    with serving(replace(source, trust=True), SETTINGS) as live:
        assert live.get("/readyz").json["version"] == "4"


def test_an_address_without_files_or_access(tmp_path, monkeypatch):
    tf.io.gfile.makedirs("ram://bucket/empty")
    with pytest.raises(DataError, match="there is no file below 'ram://bucket/empty'"):
        copy_model("ram://bucket/empty", tmp_path)

    def fail(folder, onerror):
        onerror(tf.errors.PermissionDeniedError(None, None, "403: no access\nmore"))

    monkeypatch.setattr(tf.io.gfile, "walk", fail)
    with pytest.raises(EnvironmentProblem, match="cannot be copied to this machine: 403: no acc"):
        copy_model("gs://bucket/digits", tmp_path)


def test_offline_no_model_is_copied(monkeypatch):
    monkeypatch.setenv("TLTOOL_OFFLINE", "1")
    with pytest.raises(UsageError, match="needs the network"), local_model("gs://b/m", log=print):
        raise AssertionError("not reached")
    with local_model("saved_models/digits", log=print) as folder:
        assert folder == Path("saved_models/digits")
