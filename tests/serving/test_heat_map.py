"""POST /v1/explain: an image in, the image with a heat map out."""

from __future__ import annotations

import io
from urllib.parse import quote

import numpy as np
import pytest
from PIL import Image

from tests.export.tiny_classifier import NAMES, SPEC, encoded, export, tiny_model
from tests.serving.conftest import SETTINGS
from tests.serving.live_server import form, serving, versions_of
from tests.serving.test_classify import huge_png
from tltool.serving.heat_map import draw_heat_map


def picture_of(answer) -> Image.Image:
    assert answer.status == 200, answer.body
    assert answer.headers["content-type"] == "image/png"
    return Image.open(io.BytesIO(answer.body))


def test_the_picture_has_the_size_of_the_image_and_colours(live):
    assert live.get("/v1/models").json["models"][0]["explains"]
    drawn = picture_of(live.ask("POST", "/v1/explain", encoded(1, size=(64, 48))))
    assert drawn.size == (64, 48)
    pixels = np.asarray(drawn).astype(int)
    assert (pixels.max(axis=2) - pixels.min(axis=2)).max() > 40  # grey with colour on it
    body, kind = form({"a.jpg": encoded(1, size=(64, 48), kind="JPEG")})
    picture_of(live.ask("POST", "/v1/explain", body, {"Content-Type": kind}))


def test_another_class_can_be_explained(live):
    image = encoded(1, size=(64, 48))
    predicted = live.ask("POST", "/v1/classify", image).json["results"][0]["class_name"]
    default = live.ask("POST", "/v1/explain", image).body
    drawn = {name: live.ask("POST", f"/v1/explain?class={quote(name)}", image) for name in NAMES}
    assert {name for name in NAMES if picture_of(drawn[name]) and drawn[name].body == default} == {
        predicted
    }
    wrong = live.ask("POST", "/v1/explain?class=wasps", image)
    assert wrong.status == 400 and f"the classes are {', '.join(NAMES)}" in wrong.error


def test_the_picture_is_upright_and_large_images_are_reduced():
    buffer = io.BytesIO()
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (3000, 1500), "white").save(buffer, "JPEG", exif=exif)
    heat = np.zeros((4, 4), np.float32)
    drawn = Image.open(io.BytesIO(draw_heat_map(buffer.getvalue(), heat, SPEC)))
    assert drawn.size == (512, 1024)


def test_files_that_cannot_be_explained_are_an_error(live):
    assert "not an image" in live.ask("POST", "/v1/explain", b"junk").error
    assert live.ask("POST", "/v1/explain", b"").status == 400
    assert live.ask("POST", "/v1/explain", huge_png(30_000)).status == 413
    body, kind = form({"a.png": encoded(1), "b.png": encoded(2)})
    answer = live.ask("POST", "/v1/explain", body, {"Content-Type": kind})
    assert answer.status == 400 and answer.error == "Send one image at a time"


@pytest.mark.parametrize(
    ("facts", "reason"),
    [
        pytest.param({}, "export it again", marks=pytest.mark.thorough),
        pytest.param({"feature_map": [3, 3]}, "export it again", marks=pytest.mark.thorough),
        ({"feature_map": [1, 1]}, "for images of 20x16 pixels is a single position"),
    ],
)
def test_a_model_without_the_signature_returns_501(tmp_path, facts, reason):
    export(tiny_model(), tmp_path / "old", attend=None, metadata=facts)
    with serving(versions_of(tmp_path / "old"), SETTINGS) as old:
        assert not old.get("/v1/models").json["models"][0]["explains"]
        answers = [
            old.ask("POST", f"/v1/explain{more}", encoded(1)) for more in ("", "?class=ants")
        ]
    for answer in answers:
        assert answer.status == 501 and reason in answer.error
        assert ("--method occlusion" in answer.error) == (facts.get("feature_map") == [1, 1])
