"""POST /v1/classify: images to classes, and files that are no images."""

from __future__ import annotations

import io
import json
import struct
import zlib

import pytest
from PIL import Image

from tests.export.tiny_classifier import NAMES, encoded
from tests.serving.live_server import b64, form
from tltool.serving.classify import certainty


def huge_png(side: int) -> bytes:
    """Return a small file whose header claims ``side`` x ``side`` pixels."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        crc = zlib.crc32(kind + content)
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", crc)

    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0" * 99))


def test_a_raw_body_is_one_image(live, model):
    photo = encoded(1, kind="JPEG")
    answer = live.classify(photo, "image/jpeg")
    assert answer.status == 200
    (result,) = answer.json["results"]
    expected = model([photo])
    assert result["ok"]
    assert result["class_id"] == expected["class_id"][0]
    assert result["confidence"] == pytest.approx(float(expected["confidence"][0]), abs=1e-6)
    assert result["certainty"] is None  # this model does not say how it was validated
    assert result["top"][0]["class_name"] == result["class_name"]
    assert sorted(one["class_name"] for one in result["top"]) == sorted(NAMES)


def test_a_form_has_several_images_and_each_has_its_own_result(live):
    body, kind = form({"a.png": encoded(1), "note.txt": b"hello", "c.png": encoded(2), "d": b""})
    results = live.classify(body, kind).json["results"]
    assert [(one["name"], one["ok"]) for one in results] == [
        ("a.png", True),
        ("note.txt", False),
        ("c.png", True),
        ("d", False),
    ]
    assert results[1]["error"] == "not an image"
    assert results[3]["error"] == "the file is empty"


def test_top_is_the_number_of_classes(live):
    assert len(live.classify(encoded(1), query="?top=2").json["results"][0]["top"]) == 2
    assert live.classify(encoded(1), query="?top=0").status == 400
    assert live.classify(encoded(1), query="?top=x").error.startswith("top: ")


def test_formats_that_the_model_cannot_decode_are_converted(live):
    buffer = io.BytesIO()
    Image.open(io.BytesIO(encoded(3))).save(buffer, "TIFF")
    assert live.classify(buffer.getvalue()).json["results"][0]["ok"]


def test_a_truncated_image_is_an_error(live):
    (result,) = live.classify(encoded(1, size=(90, 90))[:500]).json["results"]
    assert result == {"name": "", "ok": False, "error": "not an image, damaged or truncated"}


def test_no_image_is_a_bad_request(live):
    assert live.classify(b"").status == 400
    assert live.classify(b"", "multipart/form-data; boundary=x").status == 400
    assert live.classify(b"junk", "multipart/form-data").status == 400
    assert live.classify(b"junk", "multipart/form-data; boundary=x").status == 400
    assert live.classify(*form({str(n): b"x" for n in range(9)})).status == 400


def test_an_image_with_too_many_pixels_is_not_decoded(live):
    huge = huge_png(30_000)
    assert live.classify(huge).status == 413
    body, kind = form({"huge.png": huge, "good.png": encoded(1)})
    results = live.classify(body, kind).json["results"]
    assert [one["ok"] for one in results] == [False, True]
    assert "pixels" in results[0]["error"]
    row = live.predict({"instances": [b64(huge), b64(encoded(1))]}).json["predictions"]
    assert [one["ok"] for one in row] == [False, True]


def test_a_request_that_is_too_large_gets_413(live):
    answer = live.classify(b"x" * (2**20 + 1))
    assert answer.status == 413
    assert "larger than" in answer.error


@pytest.mark.parametrize(
    ("confidence", "images", "words"),
    [
        (1.0, 400, "almost certain"),
        (1.0, 368, "almost certain"),
        (1.0, 367, "very likely"),
        (1.0, 49, "very likely"),
        (1.0, 20, "likely"),
        (1.0, 5, "unsure"),
        (0.95, 400, "very likely"),
        (0.7, 400, "likely"),
        (0.2, 400, "unsure"),
        (1.0, None, None),
    ],
)
def test_words_for_a_confidence_claim_no_more_than_the_validation_images_support(
    confidence, images, words
):
    assert certainty(confidence, images) == words


def test_responses_are_json_that_browsers_can_parse(live):
    text = live.classify(encoded(1)).body.decode()
    assert json.loads(text, parse_constant=lambda name: pytest.fail(name))


def test_a_format_that_needs_another_program_is_no_image(live):
    answer = live.classify(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\nshowpage\n")
    error = answer.json["results"][0]["error"]
    assert error.startswith("a PostScript drawing (EPS), which is not supported")


def test_the_error_of_a_damaged_image_has_no_details_of_the_server(live):
    buffer = io.BytesIO()
    Image.effect_noise((90, 90), 90).save(buffer, "TIFF")
    answer = live.classify(buffer.getvalue()[:3000])
    assert answer.json["results"][0]["error"] == "damaged or truncated"


@pytest.mark.parametrize("address", ["/healthz", "/readyz"])
def test_health_checks_support_head_requests(live, address):
    assert live.ask("HEAD", address).status == 200
