"""File properties that predict the class, with few and many classes."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageOps

from tests.conftest import unless_thorough
from tests.data.test_duplicates import scene
from tltool.data.checks.file_properties import FEATURES, colours_of, features_of
from tltool.data.checks.shortcuts import Shortcut, find_shortcuts, shortcut_findings
from tltool.data.decoding.header import read_header


def columns(labels: np.ndarray, *, informative: bool) -> dict[str, np.ndarray]:
    """Return noise in every column; an informative width predicts the class."""
    rng = np.random.default_rng(0)
    values = {name: rng.normal(size=len(labels)).astype(np.float32) for name in FEATURES}
    if informative:
        values["width"] = (100 + 10 * labels).astype(np.float32)
    return values


@pytest.mark.parametrize("classes", unless_thorough([2, 10, 20, 102], 10))
def test_a_width_that_predicts_the_class_is_a_shortcut(classes):
    labels = np.repeat(np.arange(classes), 40)
    found = find_shortcuts(columns(labels, informative=True), [""] * len(labels), labels)
    assert [one.name for one in found if one.is_shortcut] == ["width"]
    assert found[0].lift > 0.9


@pytest.mark.parametrize("classes", [2, 20])
def test_noise_is_no_shortcut(classes):
    labels = np.repeat(np.arange(classes), 40)
    found = find_shortcuts(columns(labels, informative=False), [""] * len(labels), labels)
    assert not any(one.is_shortcut for one in found)


@pytest.mark.parametrize("images", [1, 4, 6])
def test_thousands_of_small_classes_are_accepted(images):
    labels = np.repeat(np.arange(3000), images)
    assert not any(
        one.is_shortcut
        for one in find_shortcuts(columns(labels, informative=False), [""] * len(labels), labels)
    )


def taken_by(camera: str) -> bytes:
    exif = Image.Exif()
    exif[0x010F] = camera
    return exif.tobytes()


def shortcuts_of(change: Callable[[Image.Image, int], tuple[Image.Image, Any]]) -> list[Shortcut]:
    """Return the shortcuts in JPEG files of two classes of similar scenes, changed by class."""
    rows, cameras, labels = [], [], np.arange(60) % 2
    for number, label in enumerate(labels.tolist()):
        side = 60 + number * 7 % 30  # as varied in both classes
        image, options = change(scene(number, (side, side)), label)
        to = io.BytesIO()
        image.save(to, "JPEG", quality=90, **options)
        header = read_header(to, 10**6)
        small = np.asarray(image.resize((32, 32), Image.Resampling.BOX), np.float32)
        rows.append(
            features_of(
                width=header.width,
                height=header.height,
                size=len(to.getvalue()),
                quality=header.quality,
                colours=colours_of(small[np.newaxis])[0],
            )
        )
        cameras.append(header.camera)
    columns = dict(zip(FEATURES, np.stack(rows).T, strict=True))
    return find_shortcuts(columns, cameras, labels)


@pytest.mark.parametrize(
    ("planted", "change"),
    [
        ("file size", lambda image, label: (image, {"comment": b"x" * 9000 * label})),
        pytest.param(
            "camera",
            lambda image, label: (image, {"exif": taken_by(("Canon", "Nikon")[label])}),
            marks=pytest.mark.thorough,
        ),
        ("width", lambda image, label: (image.resize((100 + 9 * label, image.height)), {})),
        pytest.param(
            "aspect ratio",
            lambda image, label: (image.resize((image.width * (4 + label) // 4, image.height)), {}),
            marks=pytest.mark.thorough,
        ),
        pytest.param(
            "border colour",
            lambda image, label: (ImageOps.expand(image, 4, ("red", "blue")[label]), {}),
            marks=pytest.mark.thorough,
        ),
    ],
)
def test_a_property_of_only_one_class_is_a_shortcut(planted, change):
    found = {one.name: one for one in shortcuts_of(change) if one.is_shortcut}
    assert found[planted].accuracy > 0.95
    assert max(found.values(), key=lambda one: one.lift).lift == found[planted].lift


def test_files_with_equal_properties_have_no_shortcut():
    assert not any(one.is_shortcut for one in shortcuts_of(lambda image, label: (image, {})))


def test_file_properties_that_predict_the_class_are_one_finding():
    shortcuts = [
        Shortcut("JPEG quality", 0.97, 0.5, 0.01),
        Shortcut("width", 0.95, 0.5, 0.01),
        Shortcut("mean colour", 0.9, 0.5, 0.01),
        Shortcut("height", 0.6, 0.5, None),
    ]
    file, colour = shortcut_findings(shortcuts)
    assert (file.kind, file.severity) == ("shortcut: JPEG quality, width", "serious")
    assert "JPEG quality alone predicts the class of 97% of the images" in file.detail
    assert file.detail.endswith("the JPEG quality instead of the object; also width 95%")
    assert (colour.kind, colour.severity) == ("shortcut: mean colour", "warning")
