"""TensorFlow Serving's REST API: predict, metadata, status and errors."""

from __future__ import annotations

import json

import numpy as np
import pytest

from tests.export.tiny_classifier import NAMES, encoded
from tests.serving.live_server import b64

PHOTOS = [encoded(seed) for seed in range(3)]
ROW = {"instances": [{"image_bytes": b64(photo)} for photo in PHOTOS]}


def test_status_has_the_documented_form(live):
    version = {
        "version": "1",
        "state": "AVAILABLE",
        "status": {"error_code": "OK", "error_message": ""},
    }
    for path in ("/v1/models/tiny", "/v1/models/tiny/versions/1"):
        answer = live.get(path)
        assert answer.status == 200
        assert answer.json["model_version_status"] == [version]


def test_all_models_are_listed_for_a_health_check(live):
    answer = live.get("/v1/models")
    assert answer.status == 200
    (served,) = answer.json["models"]
    assert (served["name"], served["version"], served["class_names"]) == ("tiny", "1", NAMES)


@pytest.mark.parametrize("where", ["", "/versions/1"])
def test_metadata_has_the_documented_format(live, where):
    document = live.get(f"/v1/models/tiny{where}/metadata").json
    assert document["model_spec"] == {"name": "tiny", "signature_name": "", "version": "1"}
    signatures = document["metadata"]["signature_def"]["signature_def"]
    tensor = signatures["serving_default"]["inputs"]["image_bytes"]
    assert tensor["dtype"] == "DT_STRING"
    assert tensor["tensor_shape"] == {"dim": [{"size": "-1", "name": ""}], "unknown_rank": False}
    assert signatures["serving_default"]["method_name"] == "tensorflow/serving/predict"


@pytest.mark.parametrize("where", ["", "/versions/1"])
def test_row_format_returns_one_object_per_image(live, model, where):
    answer = live.predict(ROW, where)
    assert answer.status == 200
    assert answer.headers["content-type"] == "application/json"
    expected = model(PHOTOS)
    predictions = answer.json["predictions"]
    assert [row["class_id"] for row in predictions] == expected["class_id"].tolist()
    assert [row["class_name"].encode() for row in predictions] == expected["class_name"].tolist()
    probabilities = np.array([row["probabilities"] for row in predictions], np.float32)
    np.testing.assert_allclose(probabilities, expected["probabilities"], atol=1e-6)


def test_column_format_returns_one_list_per_output(live, model):
    outputs = live.predict({"inputs": {"image_bytes": [b64(p) for p in PHOTOS]}}).json["outputs"]
    expected = model(PHOTOS)
    assert set(outputs) == set(expected)
    np.testing.assert_allclose(outputs["probabilities"], expected["probabilities"], atol=1e-6)


def test_a_single_input_needs_no_name(live):
    named = live.predict(ROW).json
    assert live.predict({"instances": [b64(photo) for photo in PHOTOS]}).json == named
    columns = live.predict({"inputs": [b64(photo) for photo in PHOTOS]}).json
    assert columns["outputs"]["class_id"] == [row["class_id"] for row in named["predictions"]]


def test_a_signature_can_be_named(live):
    pixels = np.random.default_rng(0).integers(0, 256, (2, 20, 16, 3)).tolist()
    answer = live.predict({"signature_name": "images", "instances": pixels})
    assert answer.status == 200
    assert "ok" not in answer.json["predictions"][0]
    same = live.predict({"signature_name": "images", "inputs": {"images": pixels}})
    assert same.json["outputs"]["class_id"] == [
        row["class_id"] for row in answer.json["predictions"]
    ]


def test_float32_is_written_as_the_shortest_decimal(live):
    text = json.dumps(live.predict(ROW).json["predictions"][0]["confidence"])
    assert len(text) <= 12


def test_one_bad_image_does_not_fail_the_others(live, model):
    row = live.predict({"instances": [b64(PHOTOS[0]), b64(b"junk"), b64(PHOTOS[1])]}).json
    assert [one["ok"] for one in row["predictions"]] == [True, False, True]
    expected = model([PHOTOS[0], b"junk", PHOTOS[1]])
    assert [one["class_id"] for one in row["predictions"]] == expected["class_id"].tolist()


def test_more_images_than_a_batch_are_returned_in_order(live, model):
    photos = [encoded(seed) for seed in range(40)]
    rows = live.predict({"instances": [b64(photo) for photo in photos]}).json["predictions"]
    assert [one["class_id"] for one in rows] == model(photos)["class_id"].tolist()


WRONG = {
    "not JSON": (b"{", "JSON Parse error"),
    "not UTF-8": (b"\xff\xfe{", "JSON Parse error"),
    "no object": ([1], "must be an object"),
    "nested deeply": (b"[" * 100_000, "JSON Parse error"),
    "no key": ({"foo": 1}, "Missing 'inputs' or 'instances' key"),
    "both keys": ({"inputs": [], "instances": []}, "only one of 'inputs' or 'instances'"),
    "an empty batch": ({"instances": []}, "No values in 'instances' array"),
    "an empty column": ({"inputs": {"image_bytes": []}}, "no items"),
    "instances no list": ({"instances": {"b64": ""}}, "to be an list/array"),
    "wrong base64": ({"instances": [{"b64": "a*b="}]}, "Unable to base64 decode"),
    "half a base64": ({"instances": [{"b64": "abcde"}]}, "Unable to base64 decode"),
    "unknown signature": (
        {"signature_name": "nope", "instances": [1]},
        'Serving signature name: "nope" not found in signature def',
    ),
    "signature no string": ({"signature_name": 3, "instances": [1]}, "must be a string"),
    "unknown input": ({"instances": [{"nope": 1}]}, "does not have named input: nope"),
    "a missing input": ({"inputs": {}}, "Missing named input: image_bytes"),
    "a number for bytes": ({"instances": [3]}, "not of expected type: string"),
    "a nested list": ({"instances": [["a"], ["b"]]}, "has shape [2,1], expected [-1]"),
    "ragged": ({"instances": ["a", ["b"]]}, "unexpected level"),
    "half a surrogate": (b'{"instances": ["\\ud800"]}', "surrogate"),
    "a huge number": (b'{"instances": [' + b"9" * 5000 + b"]}", "JSON Parse error"),
}


@pytest.mark.parametrize(("body", "message"), WRONG.values(), ids=WRONG)
def test_an_invalid_request_gets_an_error_response(live, body, message):
    answer = live.predict(body)
    assert answer.status == 400
    assert list(answer.json) == ["error"]
    assert message in answer.error


@pytest.mark.parametrize(
    "images", [[[[["x"]]]], [[[[True, 1, 2]]]], [[[[1e400, 1, 2]]]], [[[[1, 2]]]], [[[1, 2, 3]]]]
)
def test_invalid_pixels_are_an_error(live, images):
    answer = live.predict({"signature_name": "images", "instances": images})
    assert answer.status in (200, 400)
    assert answer.status == 400 or images[0][0][0][0] == 1e400


@pytest.mark.parametrize(
    ("method", "path", "status", "message"),
    [
        ("GET", "/v1/models/nope", 404, "Could not find any versions of model nope"),
        ("GET", "/v1/models/tiny/versions/7", 404, "Could not find version 7"),
        ("GET", "/v1/models/tiny/versions/x", 400, "Malformed request"),
        ("GET", f"/v1/models/tiny/versions/{'9' * 5000}", 400, "to numeric"),
        ("GET", "/v1/models/nope/metadata", 404, "Servable not found for request: Latest(nope)"),
        ("POST", "/v1/models/nope:predict", 404, "Servable not found for request: Latest(nope)"),
        ("POST", "/v1/models/tiny/versions/7:predict", 404, "Specific(tiny, 7)"),
        ("POST", "/v1/models/tiny:explain", 400, "Malformed request"),
        ("GET", "/v1/nothing", 400, "Malformed request: GET /v1/nothing"),
        ("GET", "/nothing", 404, "Not Found"),
        ("DELETE", "/v1/models/tiny", 400, "Malformed request"),
        ("DELETE", "/v1/classify", 405, "Method Not Allowed"),
    ],
)
def test_an_invalid_url_gets_an_error_response(live, method, path, status, message):
    answer = live.ask(method, path, b"{}")
    assert (answer.status, list(answer.json)) == (status, ["error"])
    assert message in answer.error
