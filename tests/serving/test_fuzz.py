"""Fuzzing: the server responds to every request and keeps running."""

from __future__ import annotations

import base64
import json
import os
from collections import Counter
from contextlib import suppress
from unittest import SkipTest

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from hypothesis.errors import Unsatisfiable
from schemathesis.checks import not_a_server_error
from schemathesis.generation import GenerationMode
from schemathesis.schemas import APIOperation
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from tests.export.tiny_classifier import encoded
from tests.serving.live_server import form

PHOTOS = [encoded(seed, kind=kind) for seed, kind in enumerate(("PNG", "JPEG", "GIF", "BMP"))]
MORE = 2 if os.environ.get("TLTOOL_THOROUGH") else 1
FEW = settings(
    max_examples=50 * MORE,
    derandomize=True,
    database=None,
    phases=(Phase.explicit, Phase.generate),
    suppress_health_check=list(HealthCheck),
)
CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
]


@pytest.mark.thorough
@pytest.mark.parametrize("mode", GenerationMode)
def test_requests_made_from_the_description(live, mode):
    schema = schemathesis.openapi.from_url(f"http://127.0.0.1:{live.port}/openapi.json")
    operations = [result.ok() for result in schema.get_all_operations()]
    assert len(operations) > 10
    statuses = Counter(status for one in operations for status in _statuses(one, mode))
    assert statuses.total() > 50
    if mode is GenerationMode.POSITIVE:
        assert {200, 400, 404} <= statuses.keys()


def _statuses(operation: APIOperation, mode: GenerationMode) -> list[int]:
    """Send many requests to a route; return the statuses of the responses."""
    statuses: list[int] = []

    @settings(FEW, max_examples=12)
    @given(operation.as_strategy(generation_mode=mode), st.booleans())
    def send(case: schemathesis.Case, existing: bool) -> None:
        if existing:
            values = {"name": "tiny", "version": "1"}
            case.path_parameters = {key: values[key] for key in case.path_parameters}
        statuses.append(case.call_and_validate(checks=CHECKS).status_code)

    with suppress(Unsatisfiable, SkipTest):  # a route without parameters has no invalid request
        send()
    return statuses


@st.composite
def corrupted(draw) -> bytes:
    """Return an image file with some bytes changed, inserted, removed or cut off."""
    content = bytearray(draw(st.sampled_from(PHOTOS)))
    for _ in range(draw(st.integers(1, 8))):
        at = draw(st.integers(0, max(0, len(content) - 1)))
        piece = draw(st.binary(max_size=8))
        content[at : at + draw(st.integers(0, 8))] = piece
    return bytes(content[: draw(st.integers(0, len(content)))] if draw(st.booleans()) else content)


@settings(FEW)
@given(corrupted())
def test_classify_responds_to_a_corrupted_image(live, content):
    for answer in (live.classify(content), live.classify(*form({"a": content, "b": PHOTOS[0]}))):
        assert answer.status in (200, 400, 413)
    if answer.status == 200:
        assert answer.json["results"][1]["ok"]


@settings(FEW)
@given(corrupted())
def test_a_corrupted_image_does_not_affect_the_others_of_its_request(live, content):
    texts = [base64.b64encode(one).decode() for one in (content, PHOTOS[0])]
    answer = live.predict({"instances": [{"b64": text} for text in texts]})
    assert answer.status == 200
    assert answer.json["predictions"][1]["ok"]


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["b64", "image_bytes", "images", "x"]), inner)
    ),
    max_leaves=12,
)
KEYS = st.sampled_from(["instances", "inputs", "signature_name"])


@settings(FEW)
@given(
    st.dictionaries(KEYS, VALUES | st.sampled_from(["images", "features", "serving_default"])),
    st.sampled_from(["images", "features", "serving_default"]),
)
def test_any_json_gets_a_response(live, document, signature):
    for one in (document, {"signature_name": signature, **document}):
        answer = live.predict(json.dumps(one).encode())
        assert answer.status in (200, 400, 413)


TENSOR = st.fixed_dictionaries(
    {},
    optional={
        "name": st.sampled_from(["image_bytes", "images", "x"]) | VALUES,
        "shape": st.lists(st.integers(-1, 3), max_size=5) | VALUES,
        "datatype": st.sampled_from(["BYTES", "FP32", "INT8"]) | VALUES,
        "data": VALUES,
        "parameters": st.dictionaries(
            st.sampled_from(["binary_data_size", "binary_data", "content_type"]), VALUES
        )
        | VALUES,
    },
)
INFER = st.fixed_dictionaries(
    {"inputs": st.lists(TENSOR, max_size=2) | VALUES},
    optional={
        "id": VALUES,
        "outputs": st.lists(TENSOR, max_size=2) | VALUES,
        "parameters": st.dictionaries(st.sampled_from(["signature_name", "top", "y"]), VALUES)
        | VALUES,
    },
)


@settings(FEW, max_examples=75 * MORE)
@given(INFER, st.binary(max_size=20), st.none() | st.integers(-1, 400))
def test_any_tensors_get_a_response(live, document, more, length):
    headers = {} if length is None else {"Inference-Header-Content-Length": str(length)}
    body = json.dumps(document).encode() + more
    answer = live.ask("POST", "/v2/models/tiny/infer", body, headers)
    assert answer.status in (200, 400, 413)


@settings(FEW)
@given(st.binary(max_size=200), st.binary(max_size=40))
def test_any_body_gets_a_response(live, body, head):
    kind = "multipart/form-data; boundary=" + head.decode("latin-1").translate(_VISIBLE)
    assert live.classify(body, kind).status in (200, 400, 413)
    assert live.predict(body).status == 400


_VISIBLE = {code: "-" for code in [*range(32), *range(127, 256)]}


def test_the_server_still_runs_after_fuzzing(live):
    assert live.get("/healthz").status == 200
    assert live.classify(PHOTOS[0]).json["results"][0]["ok"]
    assert live.thread.is_alive()
