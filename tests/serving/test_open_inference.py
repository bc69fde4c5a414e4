"""The Open Inference Protocol (V2), with requests as the clients of KServe and Triton send them."""

from __future__ import annotations

import base64
import json
import struct
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.export.tiny_classifier import encoded, export, tiny_model
from tests.serving.half_plus import three_inputs
from tests.serving.live_server import Answer, Live, serving, versions_of
from tltool.serving.api_errors import ApiError
from tltool.serving.binary_tensors import tensor_from_bytes, tensor_to_bytes
from tltool.serving.signatures import TensorInfo

PHOTOS = [encoded(seed) for seed in range(2)]
LENGTH = "Inference-Header-Content-Length"


def text(contents: list[bytes]) -> list[str]:
    return [base64.b64encode(one).decode() for one in contents]


def tensor(data: Any, shape: list[int], name: str = "image_bytes", kind: str = "BYTES") -> dict:
    return {"name": name, "shape": shape, "datatype": kind, "data": data}


def infer(live: Live, document: dict, where: str = "") -> Answer:
    return live.ask("POST", f"/v2/models/{live.name}{where}/infer", document)


def by_name(answer: Answer) -> dict[str, Any]:
    assert answer.status == 200, answer.body
    return {one["name"]: one for one in answer.json["outputs"]}


def binary_request(document: dict, tensors: list[bytes]) -> tuple[bytes, dict[str, str]]:
    """Return body and headers as Triton's client sends binary tensors."""
    head = json.dumps(document).encode()
    headers = {LENGTH: str(len(head)), "Content-Type": "application/octet-stream"}
    return head + b"".join(tensors), headers


@pytest.fixture(scope="module")
def ranked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    """A model with the outputs top_class_names and top_probabilities."""
    base = tmp_path_factory.mktemp("models") / "ranked"
    export(tiny_model(), base, top_k=3)
    with serving(versions_of(base, "ranked")) as running:
        yield running


@pytest.fixture(scope="module")
def tagged(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    base: Path = tmp_path_factory.mktemp("models") / "tagged"
    three_inputs(base)
    with serving(versions_of(base, "tagged")) as running:
        yield running


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/v2/health/live", {"live": True}),
        ("/v2/health/ready", {"ready": True}),
        ("/v2/models/tiny/ready", {"name": "tiny", "ready": True}),
        ("/v2/models/tiny/versions/1/ready", {"name": "tiny", "ready": True}),
        ("/v2/models", {"models": ["tiny"]}),
    ],
)
def test_health_and_readiness(live, path, expected):
    answer = live.get(path)
    assert (answer.status, answer.json) == (200, expected)


def test_the_server_names_its_extensions(live):
    assert live.get("/v2").json["extensions"] == ["binary_tensor_data"]


@pytest.mark.parametrize("where", ["", "/versions/1"])
def test_metadata_has_the_names_of_the_saved_model(live, where):
    document = live.get(f"/v2/models/tiny{where}").json
    assert (document["name"], document["versions"]) == ("tiny", ["1"])
    assert document["inputs"] == [
        {"name": "image_bytes", "datatype": "BYTES", "shape": [-1]},
        {"name": "images", "datatype": "FP32", "shape": [-1, -1, -1, 3]},
    ]
    outputs = {one["name"]: one for one in document["outputs"]}
    assert outputs["probabilities"] == {
        "name": "probabilities",
        "datatype": "FP32",
        "shape": [-1, 3],
    }
    assert outputs["ok"]["datatype"] == "BOOL"


@pytest.mark.parametrize("where", ["", "/versions/1"])
def test_image_files_as_base64_in_json(live, model, where):
    contents = [*PHOTOS, b"junk"]
    answer = infer(live, {"id": "7", "inputs": [tensor(text(contents), [3])]}, where)
    assert {key: answer.json[key] for key in ("id", "model_name", "model_version")} == {
        "id": "7",
        "model_name": "tiny",
        "model_version": "1",
    }
    outputs, expected = by_name(answer), model(contents)
    assert set(outputs) == set(expected)
    assert outputs["ok"]["data"] == [True, True, False]
    assert outputs["class_id"]["data"] == expected["class_id"].tolist()
    names = [name.decode() for name in expected["class_name"]]
    assert outputs["class_name"] == {
        "name": "class_name",
        "datatype": "BYTES",
        "shape": [3],
        "data": names,
    }
    probabilities = np.reshape(outputs["probabilities"]["data"], outputs["probabilities"]["shape"])
    np.testing.assert_allclose(probabilities, expected["probabilities"], atol=1e-6)


def test_image_files_as_binary_tensor(live, model):
    content = b"".join(struct.pack("<I", len(one)) + one for one in PHOTOS)
    one = {"name": "image_bytes", "shape": [2], "datatype": "BYTES"}
    document = {
        "inputs": [{**one, "parameters": {"binary_data_size": len(content)}}],
        "outputs": [
            {"name": "class_id"},
            {"name": "probabilities", "parameters": {"binary_data": True}},
            {"name": "class_name", "parameters": {"binary_data": True}},
        ],
    }
    answer = live.ask("POST", "/v2/models/tiny/infer", *binary_request(document, [content]))
    assert answer.status == 200, answer.body
    assert answer.headers["content-type"] == "application/octet-stream"
    length = int(answer.headers[LENGTH.lower()])
    outputs = json.loads(answer.body[:length])["outputs"]
    assert [one["name"] for one in outputs] == ["class_id", "probabilities", "class_name"]
    expected = model(PHOTOS)
    assert outputs[0]["data"] == expected["class_id"].tolist()
    size = outputs[1]["parameters"]["binary_data_size"]
    numbers = np.frombuffer(answer.body[length : length + size], "<f4").reshape(2, 3)
    np.testing.assert_allclose(numbers, expected["probabilities"], atol=1e-6)
    rest = answer.body[length + size :]
    assert len(rest) == outputs[2]["parameters"]["binary_data_size"]
    info = TensorInfo("", "DT_STRING", (-1,))
    names = tensor_from_bytes(memoryview(rest), "class_name", info, (2,))
    assert names.tolist() == expected["class_name"].tolist()


def test_all_outputs_can_be_binary(live):
    document = {"inputs": [tensor(text(PHOTOS), [2])], "parameters": {"binary_data_output": True}}
    answer = infer(live, document)
    length = int(answer.headers[LENGTH.lower()])
    outputs = json.loads(answer.body[:length])["outputs"]
    sizes = [one["parameters"]["binary_data_size"] for one in outputs]
    assert length + sum(sizes) == len(answer.body)


@pytest.mark.parametrize("nested", [True, False])
def test_pixels_choose_the_signature_images(live, nested):
    pixels = np.random.default_rng(0).integers(0, 256, (2, 20, 16, 3))
    data = pixels.tolist() if nested else pixels.ravel().tolist()
    outputs = by_name(infer(live, {"inputs": [tensor(data, [2, 20, 16, 3], "images", "FP32")]}))
    same = live.predict({"signature_name": "images", "inputs": pixels.tolist()}).json["outputs"]
    assert outputs["class_id"]["data"] == same["class_id"]
    assert "ok" not in outputs


def test_a_signature_can_be_named(live):
    document = {
        "inputs": [tensor(text(PHOTOS), [2])],
        "parameters": {"signature_name": "features"},
    }
    assert set(by_name(infer(live, document))) == {"features", "ok"}


def test_top_says_how_many_classes_are_returned(ranked):
    document = {"inputs": [tensor(text([*PHOTOS, b""]), [3])], "parameters": {"top": 2}}
    outputs = by_name(infer(ranked, document))
    assert outputs["top_class_names"]["shape"] == [3, 2]
    assert outputs["top_class_names"]["data"][4:] == ["", ""]  # ok is false
    names = outputs["class_name"]["data"]
    assert outputs["top_class_names"]["data"][0:4:2] == names[:2]


def test_several_inputs_of_another_model(tagged):
    inputs = [
        tensor(["foo", "bär"], [2], "tag"),
        tensor([1, 2, 3, 4, 5, 3, 4, 1, 2, 5], [2, 5], "signal", "FP32"),
        tensor([[[1, 2], [3, 4]], [[4, 5], [6, 8]]], [2, 2, 2], "sensor", "INT32"),
    ]
    outputs = by_name(infer(tagged, {"inputs": inputs}))
    assert outputs["tag_bytes"]["data"] == ["foo", "bär"]  # text, because it is no image
    assert outputs["signal"]["data"] == [15.0, 15.0]
    assert outputs["sensor"]["data"] == [2, 4, 6, 8, 8, 10, 12, 16]
    coded = {**inputs[0], "data": text([b"\xff\x00", b"b"])}
    coded["parameters"] = {"content_type": "base64"}
    outputs = by_name(infer(tagged, {"inputs": [coded, *inputs[1:]]}))
    assert outputs["tag_bytes"]["data"] == text([b"\xff\x00", b"b"])
    assert outputs["tag_bytes"]["parameters"] == {"content_type": "base64"}


ONE = tensor(text(PHOTOS), [2])
WRONG = {
    "no inputs": ({}, "no inputs"),
    "inputs no list": ({"inputs": {"name": "image_bytes"}}, "must be a list of objects"),
    "no name": ({"inputs": [{"shape": [1]}]}, "must have a name"),
    "twice": ({"inputs": [ONE, ONE]}, "must differ"),
    "unknown input": ({"inputs": [{**ONE, "name": "x"}]}, "serving_default takes image_bytes"),
    "unknown signature": ({"inputs": [ONE], "parameters": {"signature_name": "x"}}, "features"),
    "unknown parameter": ({"inputs": [ONE], "parameters": {"threshold": 1}}, "'threshold'"),
    "datatype": ({"inputs": [{**ONE, "datatype": "FP32"}]}, "must be BYTES, not FP32"),
    "shape": ({"inputs": [{**ONE, "shape": [2, 1]}]}, "[-1], where -1 is any size"),
    "negative": ({"inputs": [{**ONE, "shape": [-1]}]}, "must be a list of sizes"),
    "count": ({"inputs": [{**ONE, "shape": [3]}]}, "has 2 values, its shape [3] has 3"),
    "no data": ({"inputs": [{**ONE, "data": None}]}, "'data' must be a list"),
    "no base64": ({"inputs": [tensor(["*"], [1])]}, "Unable to base64 decode"),
    "number": ({"inputs": [tensor([1], [1])]}, "not of expected type: string"),
    "empty": ({"inputs": [tensor([], [0])]}, "no items"),
    "output": ({"inputs": [ONE], "outputs": [{"name": "x"}]}, "the outputs are class_id"),
    "top": ({"inputs": [ONE], "parameters": {"top": 2}}, "needs top_class_names"),
    "size": (
        {"inputs": [{**ONE, "parameters": {"binary_data_size": 9}}]},
        "is not the size of its bytes",
    ),
    "shared memory": (
        {"inputs": [{**ONE, "parameters": {"shared_memory_region": "x"}}]},
        "shared_memory_region is not supported",
    ),
    "classification": (
        {"inputs": [ONE], "outputs": [{"name": "ok", "parameters": {"classification": 2}}]},
        "classification is not supported",
    ),
}


@pytest.mark.parametrize(("document", "message"), WRONG.values(), ids=WRONG)
def test_an_invalid_request_gets_an_error_response(live, document, message):
    answer = infer(live, document)
    assert (answer.status, list(answer.json)) == (400, ["error"])
    assert message in answer.error


@pytest.mark.parametrize("length", ["x", "-1", "99999999", ""])
def test_an_invalid_length_of_the_json_text(live, length):
    body = json.dumps({"inputs": [ONE]}).encode()
    answer = live.ask("POST", "/v2/models/tiny/infer", body, {LENGTH: length})
    assert answer.status == 400
    assert LENGTH in answer.error


@pytest.mark.parametrize(
    "path", ["/v2/models/other", "/v2/models/other/ready", "/v2/models/tiny/versions/7/ready"]
)
def test_an_unknown_model_or_version(live, path):
    assert live.get(path).status == 404


DTYPES = {
    "DT_FLOAT": "<f4",
    "DT_DOUBLE": "<f8",
    "DT_INT64": "<i8",
    "DT_UINT8": "u1",
    "DT_BOOL": "?",
}


@given(st.lists(st.binary(max_size=20), max_size=6))
def test_binary_strings_round_trip(values):
    array = np.empty(len(values), object)
    array[:] = values
    content = tensor_to_bytes(array)
    info = TensorInfo("", "DT_STRING", (-1,))
    assert tensor_from_bytes(memoryview(content), "x", info, (len(values),)).tolist() == values


@given(st.sampled_from(list(DTYPES)), st.lists(st.integers(0, 1), min_size=6, max_size=6))
def test_binary_numbers_round_trip(dtype, values):
    array = np.array(values, DTYPES[dtype]).reshape(2, 3)
    content = tensor_to_bytes(array)
    assert content == array.tobytes()
    read = tensor_from_bytes(memoryview(content), "x", TensorInfo("", dtype, None), (2, 3))
    np.testing.assert_array_equal(read, array)


@settings(max_examples=200)
@given(st.binary(max_size=40), st.integers(0, 5), st.sampled_from(["DT_STRING", *DTYPES]))
def test_any_bytes_are_a_tensor_or_an_error(content, count, dtype):
    info = TensorInfo("", dtype, None)
    try:
        array = tensor_from_bytes(memoryview(content), "x", info, (count,))
    except ApiError as error:
        assert error.status == 400
        return
    assert array.shape == (count,)
    if dtype != "DT_BOOL":
        assert tensor_to_bytes(array) == content


def test_the_client_of_triton(live, model):
    http = pytest.importorskip("tritonclient.http")
    image = http.InferInput("image_bytes", [2], "BYTES")
    image.set_data_from_numpy(np.array(PHOTOS, dtype=object))
    pixels = http.InferInput("images", [1, 20, 30, 3], "FP32")
    pixels.set_data_from_numpy(np.full((1, 20, 30, 3), 99, np.float32), binary_data=False)
    expected = model(PHOTOS)
    with http.InferenceServerClient(f"127.0.0.1:{live.port}") as client:
        assert client.is_server_live()
        assert client.is_server_ready()
        assert client.is_model_ready("tiny")
        assert client.get_model_metadata("tiny")["versions"] == ["1"]
        answer = client.infer("tiny", [image], model_version="1", request_id="7")
        some = client.infer(
            "tiny", [pixels], outputs=[http.InferRequestedOutput("class_id", binary_data=False)]
        )
        with pytest.raises(sys.modules["tritonclient.utils"].InferenceServerException) as raised:
            client.infer("other", [image])
    assert answer.get_response()["id"] == "7"
    assert answer.as_numpy("class_name").tolist() == expected["class_name"].tolist()
    np.testing.assert_allclose(
        answer.as_numpy("probabilities"), expected["probabilities"], atol=1e-6
    )
    assert some.as_numpy("class_id").shape == (1,)
    assert some.as_numpy("probabilities") is None
    assert "other" in raised.value.message()
