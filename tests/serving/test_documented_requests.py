"""Requests and answers that TensorFlow Serving and KServe document, replayed.

From TensorFlow Serving's RESTful API page and the tests of its REST handler, and from KServe's page
on the V1 data plane.
"""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from tests.serving.half_plus import half_plus, three_inputs
from tests.serving.live_server import Live, serving, versions_of

AVAILABLE = {
    "model_version_status": [
        {
            "version": "123",
            "state": "AVAILABLE",
            "status": {"error_code": "OK", "error_message": ""},
        }
    ]
}
TAGS = [
    {"tag": "foo", "signal": [1, 2, 3, 4, 5], "sensor": [[1, 2], [3, 4]]},
    {"tag": "bar", "signal": [3, 4, 1, 2, 5], "sensor": [[4, 5], [6, 8]]},
]
COLUMNS = {name: [row[name] for row in TAGS] for name in TAGS[0]}


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    base = tmp_path_factory.mktemp("models") / "half_plus_two"
    half_plus(2.0, base)
    with serving(versions_of(base, "half_plus_two")) as running:
        yield running


@pytest.fixture(scope="module")
def three(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    base = tmp_path_factory.mktemp("models") / "half_plus_three"
    half_plus(3.0, base)
    with serving(versions_of(base, "half_plus_three")) as running:
        yield running


@pytest.fixture(scope="module")
def tagged(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    base = tmp_path_factory.mktemp("models") / "tagged"
    three_inputs(base)
    with serving(versions_of(base, "tagged")) as running:
        yield running


@pytest.mark.parametrize("where", ["", "/versions/123"])
def test_the_documented_status(three, where):
    answer = three.get(f"/v1/models/half_plus_three{where}")
    assert answer.status == 200
    assert answer.json.items() >= AVAILABLE.items()
    assert answer.headers["content-type"] == "application/json"


@pytest.mark.parametrize(
    ("where", "request_body", "expected"),
    [
        ("", {"instances": [1.0, 2.0, 5.0]}, {"predictions": [2.5, 3.0, 4.5]}),
        ("", {"inputs": [1.0, 2.0, 5.0]}, {"outputs": [2.5, 3.0, 4.5]}),
        ("", {"instances": [2.0, 3.0, 4.0]}, {"predictions": [3.0, 3.5, 4.0]}),
        ("", {"inputs": [2.0, 3.0, 4.0]}, {"outputs": [3.0, 3.5, 4.0]}),
        ("/versions/123", {"instances": [1.0, 2.0]}, {"predictions": [2.5, 3.0]}),
        (
            "/versions/123",
            {"signature_name": "serving_default", "instances": [3.0, 4.0]},
            {"predictions": [3.5, 4.0]},
        ),
        (
            "/versions/123",
            {"signature_name": "serving_default", "inputs": [3.0, 4.0]},
            {"outputs": [3.5, 4.0]},
        ),
        ("", {"instances": [{"x": 1.0}, {"x": 2.0}]}, {"predictions": [2.5, 3.0]}),
        ("", {"inputs": {"x": [1.0, 2.0]}}, {"outputs": [2.5, 3.0]}),
    ],
)
def test_half_plus_two(two, where, request_body, expected):
    answer = two.predict(request_body, where)
    assert (answer.status, answer.json) == (200, expected)
    assert answer.headers["content-type"] == "application/json"


def test_half_plus_three(three):
    answer = three.predict({"instances": [1.0, 2.0, 5.0]})
    assert (answer.status, answer.json) == (200, {"predictions": [3.5, 4.0, 5.5]})


def test_a_body_that_curl_sends_as_a_form_is_json_all_the_same(three):
    kind = {"Content-Type": "application/x-www-form-urlencoded"}
    body = b'{"instances": [1.0,2.0,5.0]}'
    answer = three.ask("POST", "/v1/models/half_plus_three:predict", body, kind)
    assert answer.json == {"predictions": [3.5, 4.0, 5.5]}


def test_an_unknown_model_has_the_documented_error(three):
    answer = three.ask("POST", "/v1/models/half:predict", {"instances": [1.0, 5.0]})
    assert answer.status == 404
    assert answer.json == {"error": "Servable not found for request: Latest(half)"}


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "message"),
    [
        ("GET", "/v1/foo", None, 400, "Malformed request"),
        ("POST", "/v1/foo", b"", 400, "Malformed request"),
        ("POST", "/v1/models", b"", 400, "Malformed request"),
        ("GET", "/v1/models/half_plus_two:predict", None, 400, "Malformed request"),
        ("GET", "/v1/models/foo/version/50:predict", None, 400, "Malformed request"),
        ("POST", "/v1/models/foo/version/50:predict", b"", 400, "Malformed request"),
        ("POST", "/v1/models/foo/versions/HELLO:predict", b"", 400, "Malformed request"),
        (
            "POST",
            f"/v1/models/foo/versions/{2**64 - 1}:predict",
            b"",
            400,
            "Failed to convert version",
        ),
        ("POST", "/v1/models/foo/versions/50:predict", b'{"instances": [1]}', 404, "Servable not"),
        ("POST", "/v1/models/half_plus_two99:predict", b'{"instances": [1]}', 404, "Servable not"),
        ("POST", "/v1/models/half_plus_two:predict", b"", 400, "The document is empty"),
        ("POST", "/v1/models/half_plus_two:predict", b"instances = [1]", 400, "JSON Parse error: "),
        (
            "POST",
            "/v1/models/half_plus_two:predict",
            b'{"instances": ["x"]}',
            400,
            "not of expected type: float",
        ),
    ],
)
def test_what_tensorflow_serving_refuses(two, method, path, body, status, message):
    answer = two.ask(method, path, body)
    assert (answer.status, list(answer.json)) == (status, ["error"])
    assert message in answer.error


def test_metadata_of_one_input_and_one_output(two):
    document = two.get("/v1/models/half_plus_two/metadata").json
    assert document["model_spec"] == {
        "name": "half_plus_two",
        "signature_name": "",
        "version": "123",
    }
    signature = document["metadata"]["signature_def"]["signature_def"]["serving_default"]
    assert signature["method_name"] == "tensorflow/serving/predict"
    for one, name in ((signature["inputs"], "x"), (signature["outputs"], "y")):
        assert one[name]["dtype"] == "DT_FLOAT"
        dims = {"dim": [{"size": "-1", "name": ""}], "unknown_rank": False}
        assert one[name]["tensor_shape"] == dims


def test_named_inputs_in_row_form(tagged):
    assert tagged.predict({"instances": TAGS}).json == {
        "predictions": [
            {
                "sensor": [[2, 4], [6, 8]],
                "signal": 15.0,
                "tag": "FOO",
                "tag_bytes": {"b64": "Zm9v"},
            },
            {
                "sensor": [[8, 10], [12, 16]],
                "signal": 15.0,
                "tag": "BAR",
                "tag_bytes": {"b64": "YmFy"},
            },
        ]
    }


def test_named_inputs_in_column_form(tagged):
    assert tagged.predict({"inputs": COLUMNS}).json == {
        "outputs": {
            "sensor": [[[2, 4], [6, 8]], [[8, 10], [12, 16]]],
            "signal": [15.0, 15.0],
            "tag": ["FOO", "BAR"],
            "tag_bytes": [{"b64": "Zm9v"}, {"b64": "YmFy"}],
        }
    }


def test_binary_values_come_as_b64(tagged):
    encoded = [{"b64": "aW1hZ2UgYnl0ZXM="}, {"b64": "YXdlc29tZSBpbWFnZSBieXRlcw=="}]
    outputs = tagged.predict({"inputs": {**COLUMNS, "tag": encoded}}).json["outputs"]
    assert outputs["tag"] == ["IMAGE BYTES", "AWESOME IMAGE BYTES"]
    assert outputs["tag_bytes"] == encoded


def test_numbers_that_json_does_not_know_pass_both_ways(two):
    answer = two.predict(b'{"instances": [NaN, Infinity, -Infinity, 1e2]}')
    assert answer.body == b'{"predictions":[NaN,Infinity,-Infinity,52.0]}'


def test_columns_of_different_length_are_refused_and_not_mixed_up(tagged):
    answer = tagged.predict({"inputs": {**COLUMNS, "tag": ["foo"]}})
    assert answer.status == 400
    assert tagged.predict({"inputs": COLUMNS}).status == 200


def test_the_forms_of_a_kserve_v1_client(two):
    listed = two.get("/v1/models").json["models"]
    assert [model["name"] for model in listed] == ["half_plus_two"]
    assert two.get("/v1/models/half_plus_two").status == 200
    headers = {"Content-Type": "application/json", "Accept": "application/json"}
    body = json.dumps({"instances": [1.0]}).encode()
    answer = two.ask("POST", "/v1/models/half_plus_two:predict", body, headers)
    assert (answer.status, answer.json) == (200, {"predictions": [2.5]})
    explained = two.ask("POST", "/v1/models/half_plus_two:explain", body, headers)
    assert (explained.status, list(explained.json)) == (400, ["error"])


def test_a_model_without_an_image_signature_returns_501(two):
    assert two.get("/v1/models").json["models"][0]["takes_images"] is False
    answer = two.classify(b"x")
    assert answer.status == 501
    assert "no signature for the bytes" in answer.error
