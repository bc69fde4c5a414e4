"""Compressed requests: the same response, within the same limits."""

from __future__ import annotations

import gzip
import json
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.export.tiny_classifier import encoded
from tests.serving.conftest import LIMITS
from tests.serving.live_server import b64, form
from tltool.serving.api_errors import ApiError
from tltool.serving.content_encoding import PIECE, decompressor

BODY = json.dumps({"instances": [b64(encoded(seed)) for seed in range(2)]}).encode()
ZIPPED = gzip.compress(BODY, mtime=0)
HALVES = gzip.compress(BODY[:99], mtime=0) + gzip.compress(BODY[99:], mtime=0)


@pytest.mark.parametrize(
    ("encoding", "content"),
    [
        ("gzip", ZIPPED),
        ("GZIP", ZIPPED),
        ("x-gzip", HALVES),
        ("deflate", zlib.compress(BODY)),
        ("identity", BODY),
        ("identity, gzip", ZIPPED),
        ("", BODY),
    ],
)
def test_a_compressed_request_gets_the_same_response(live, encoding, content):
    answer = live.ask("POST", "/v1/models/tiny:predict", content, {"Content-Encoding": encoding})
    assert (answer.status, answer.json) == (200, live.predict(BODY).json)


def test_compressed_images_and_forms_are_classified(live):
    body, kind = form({"a.png": encoded(1)})
    for content, content_type in ((encoded(1), "image/png"), (body, kind)):
        headers = {"Content-Encoding": "gzip", "Content-Type": content_type}
        answer = live.ask("POST", "/v1/classify", gzip.compress(content), headers)
        assert answer.json["results"][0]["ok"]


@pytest.mark.parametrize("coding", ["gzip", "deflate"])
def test_a_decompression_bomb_is_too_large(live, coding):
    bomb = bytes(200 * LIMITS.body_bytes)
    content = gzip.compress(bomb) if coding == "gzip" else zlib.compress(bomb)
    assert len(content) < LIMITS.body_bytes
    answer = live.ask("POST", "/v1/classify", content, {"Content-Encoding": coding})
    assert answer.status == 413


def test_a_compressed_body_over_the_limit_that_contains_nothing_is_too_large(live):
    nothing = gzip.compress(b"") * (LIMITS.body_bytes // 20 + 1)
    answer = live.ask("POST", "/v1/classify", iter([nothing]), {"Content-Encoding": "gzip"})
    assert answer.status == 413


@pytest.mark.parametrize(
    ("encoding", "content", "status", "message"),
    [
        ("gzip", BODY, 400, "not valid gzip"),
        ("deflate", ZIPPED, 400, "not valid deflate"),
        ("gzip", ZIPPED[:-9], 400, "truncated"),
        ("gzip", ZIPPED + b"more", 400, "not valid gzip"),
        ("gzip", b"", 400, "The document is empty"),
        ("br", BODY, 415, "'br' is not supported"),
        ("gzip, gzip", gzip.compress(ZIPPED), 415, "'gzip, gzip' is not supported"),
    ],
)
def test_a_wrong_encoding_gets_an_error_response(live, encoding, content, status, message):
    answer = live.ask("POST", "/v1/models/tiny:predict", content, {"Content-Encoding": encoding})
    assert answer.status == status
    assert message in answer.error
    assert answer.headers.get("accept-encoding") == ("gzip, deflate" if status == 415 else None)


@given(st.binary(max_size=3000), st.integers(1, 50), st.booleans())
def test_a_body_is_the_same_however_it_arrives(content, size, members):
    packed = gzip.compress(content[:20]) + gzip.compress(content[20:]) if members else b""
    packed = packed or gzip.compress(content)
    decoder = decompressor("gzip")
    chunks = [packed[at : at + size] for at in range(0, len(packed), size)]
    pieces = [piece for chunk in chunks for piece in decoder.pieces(chunk)]
    decoder.finish()
    assert b"".join(pieces) == content


@given(st.binary(max_size=200), st.sampled_from(["gzip", "deflate"]))
def test_any_bytes_are_decompressed_or_an_error(content, coding):
    decoder = decompressor(coding)
    try:
        assert all(len(piece) <= PIECE for piece in decoder.pieces(content))
        decoder.finish()
    except ApiError as error:
        assert error.status == 400
