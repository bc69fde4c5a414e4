"""Valid and invalid requests to `tltool serve`, each with a check of its response."""

from __future__ import annotations

import base64
import json
import random
import struct
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from benchmarks.loopback import post

TOLERANCE = 1e-5  # of a probability: the size of the batch changes the last digits

Truth = Mapping[bytes, tuple[bool, np.ndarray]]


@dataclass(frozen=True)
class Job:
    """A request and the expected response.

    Attributes:
        kind: name for the table.
        request: all its bytes.
        statuses: allowed HTTP status codes.
        check: returns whether the body is right.
    """

    kind: str
    request: bytes
    statuses: tuple[int, ...] = (200,)
    check: Callable[[bytes], bool] = lambda body: b"error" in body


def bomb(side: int = 30_000) -> bytes:
    """Return a small PNG whose header claims ``side`` x ``side`` pixels."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        crc = zlib.crc32(kind + content)
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", crc)

    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0" * 99))


def damaged(images: Sequence[bytes]) -> list[bytes]:
    """Return contents that are no valid images."""
    noise = random.Random(0).randbytes(5000)
    cut = [image[: len(image) // 3] for image in images[:3]]
    return [b"no image at all", noise, images[0][:20] + noise, *cut]


def _same(truth: tuple[bool, np.ndarray], ok: bool, class_id: int, confidence: float) -> bool:
    expected_ok, expected = truth
    if not (expected_ok and ok):
        return expected_ok == ok
    return class_id == int(expected.argmax()) and abs(confidence - expected.max()) <= TOLERANCE


def classify_job(kind: str, contents: Sequence[bytes], truth: Truth) -> Job:
    """Return an upload to ``/v1/classify``: one image as the body, several in a form."""

    def check(body: bytes) -> bool:
        results = json.loads(body)["results"]
        return len(results) == len(contents) and all(
            _same(truth[one], item["ok"], item.get("class_id", -1), item.get("confidence", 0.0))
            for one, item in zip(contents, results, strict=True)
        )

    if len(contents) == 1:
        return Job(kind, post("/v1/classify", contents[0], "image/jpeg"), check=check)
    parts = [
        b'--edge\r\nContent-Disposition: form-data; name="image"; filename="%d"\r\n\r\n%b\r\n'
        % (number, content)
        for number, content in enumerate(contents)
    ]
    body = b"".join([*parts, b"--edge--\r\n"])
    return Job(kind, post("/v1/classify", body, "multipart/form-data; boundary=edge"), check=check)


def predict_job(kind: str, contents: Sequence[bytes], truth: Truth, *, name: str, row: bool) -> Job:
    """Return a predict request of TensorFlow Serving's REST API."""

    def check(body: bytes) -> bool:
        document = json.loads(body)
        if row:
            results = [(r["ok"], r["class_id"], r["confidence"]) for r in document["predictions"]]
        else:
            columns = document["outputs"]
            keys = ("ok", "class_id", "confidence")
            results = list(zip(*(columns[key] for key in keys), strict=True))
        return len(results) == len(contents) and all(
            _same(truth[one], *item) for one, item in zip(contents, results, strict=True)
        )

    items = [{"b64": base64.b64encode(content).decode()} for content in contents]
    document = {"instances": items} if row else {"inputs": {"image_bytes": items}}
    return Job(kind, post(f"/v1/models/{name}:predict", json.dumps(document).encode()), check=check)


def too_large(name: str, body_bytes: int) -> list[Job]:
    """Return one request of every kind that is too large."""
    body = bytes(body_bytes + 1)
    with_length = post("/v1/classify", body, "image/png")
    head = b"POST /v1/classify HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    chunked = head + b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)
    predict = post(f"/v1/models/{name}:predict", body)
    pixels = post("/v1/classify", bomb(), "image/png")
    return [Job("too large", one, (413,)) for one in (with_length, chunked, predict, pixels)]
