"""No response contains a path of the server, and no request is written to its disk."""

from __future__ import annotations

import io
import os
import resource
import sys
from pathlib import Path

import pytest
from PIL import Image

from benchmarks.loopback import served
from tests.export.tiny_classifier import encoded
from tests.serving.live_server import Answer, Live, b64, form
from tests.serving.test_classify import huge_png


def every_kind_of_request(live: Live) -> list[Answer]:
    """Return the answers to requests that are right, wrong, and wrong in the model's own depths."""
    photos = {"../../etc/passwd": encoded(1), "b": encoded(2)[:300], "c": huge_png(30_000)}
    pixels = [[[[1.0, 2.0, 3.0]]]]
    empty: list[list[float]] = [[]]
    return [
        *(live.ask(method, path) for method in ("GET", "POST", "PUT") for path in ADDRESSES),
        live.classify(*form(photos)),
        live.classify(b"\xff\xd8\xff" + bytes(900), "image/jpeg"),
        live.classify(b"x" * (2**20 + 1)),
        live.predict({"instances": [b64(b"GIF89a" + bytes(40))]}),
        live.predict({"instances": [b64(b"BM" + bytes(40))]}),
        live.predict({"signature_name": "images", "instances": pixels}),
        live.predict({"signature_name": "images", "instances": [empty]}),
        live.predict({"signature_name": "nope", "instances": [1]}),
        live.predict(b"{"),
    ]


ADDRESSES = [
    "/",
    "/v1/models",
    "/v1/models/tiny",
    "/v1/models/tiny/metadata",
    "/v1/models/tiny/versions/7",
    "/v1/models/..%2f..%2fetc/metadata",
    "/v1/models/tiny:explain",
    "/../../etc/passwd",
    "/page/../../settings.py",
    "/openapi.json",
    "/metrics",
    "/nothing",
]


def test_no_header_or_body_names_a_path_of_the_server(live, exported):
    import tltool

    secrets = [
        str(exported.parent.parent).encode(),
        str(Path(tltool.__file__).parent).encode(),
        os.fsencode(Path.cwd()),
        b"site-packages",
        b"Traceback",
        b".py",
    ]
    for answer in every_kind_of_request(live):
        assert answer.status != 500
        sent = answer.body + "\n".join(map(": ".join, answer.headers.items())).encode()
        assert [secret for secret in secrets if secret in sent] == []


def test_a_model_that_fails_inside_says_no_more_than_that(live):
    nowhere = {"signature_name": "images", "inputs": {"images": [[[[]]]]}}
    answer = live.predict(nowhere)
    assert answer.status == 400
    assert "/" not in answer.error


@pytest.mark.thorough
@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="limits another process")
def test_uploads_never_touch_the_disk(exported):
    """A server that can write no byte to any file answers all the same."""
    buffer = io.BytesIO()
    Image.effect_noise((900, 900), 90).save(buffer, "TIFF")  # which is decoded and encoded anew
    large = encoded(1) + bytes(8 * 2**20)
    with served(exported.parent) as server:
        resource.prlimit(server.process.pid, resource.RLIMIT_FSIZE, (0, 0))
        live = Live(server.port, server.name)
        answer = live.classify(*form({"a": large, "b": buffer.getvalue(), "c": large}))
        assert [one["ok"] for one in answer.json["results"]] == [True, True, True]
        assert live.classify(large).json["results"][0]["ok"]
        assert live.predict({"instances": [b64(large)]}).json["predictions"][0]["ok"]
