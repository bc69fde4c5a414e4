"""Accuracy by slice: by the properties that the audit recorded."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.conftest import picture
from tltool.data.audit.inspect_file import image_decoder, inspect_file
from tltool.data.catalog import Catalog, Item
from tltool.evaluation.metrics.accuracy_by_slice import accuracy_by_slice


def images(**columns: list[Any]) -> Catalog:
    """Return images that differ in ``columns`` only."""
    n = len(next(iter(columns.values())))
    same = {"path": [Path("/photos/cat/a.jpg")] * n, "label": ["cat"] * n, "format": ["png"] * n}
    rows = {"width": [64] * n, "height": [64] * n, **same, **columns}
    items = [Item(**dict(zip(rows, row, strict=True))) for row in zip(*rows.values(), strict=True)]
    return Catalog(Path("/photos"), tuple(items), ("cat",))


def slice_sizes(catalog: Catalog, correct: Any = None) -> dict[tuple[str, str], int]:
    correct = np.ones(len(catalog), bool) if correct is None else correct
    return {(row["by"], row["value"]): row["n"] for row in accuracy_by_slice(catalog, correct)}


def test_equal_images_have_no_slices() -> None:
    assert accuracy_by_slice(images(format=["png"] * 5), np.ones(5, bool)) == []


def test_numbers_are_divided_into_thirds_with_their_bounds() -> None:
    assert slice_sizes(images(brightness=[float(n) for n in range(90)])) == {
        ("brightness", "under 29 of 255"): 29,
        ("brightness", "29 to 59 of 255"): 30,
        ("brightness", "from 59 of 255"): 31,
    }


def test_few_images_are_divided_into_halves_and_ties_stay_together() -> None:
    assert slice_sizes(images(width=[100] * 4 + [200] * 2, height=[100] * 4 + [200] * 2)) == {}
    cut = slice_sizes(images(sharpness=[1.0, 1.0, 5.0, 5.0, 5.0]))
    assert cut == {("sharpness", "under 5"): 2, ("sharpness", "from 5"): 3}


def test_shape_orientation_file_type_folder_and_columns() -> None:
    catalog = images(
        width=[40, 64, 90],
        orientation=[1, 6, 6],
        format=["jpeg", "png", "png"],
        path=[Path("/photos/cat/a/1.jpg"), Path("/photos/cat/b/2.png"), Path("/photos/cat/3.png")],
        columns=[(("camera", "phone"),), (("camera", "phone"),), (("camera", ""),)],
    )
    found = slice_sizes(catalog)
    assert (
        found[("shape", "portrait")]
        == found[("shape", "square")]
        == found[("shape", "landscape")]
        == 1
    )
    assert found[("orientation", "rotated by EXIF")] == 2
    assert found[("file type", "png")] == 2
    assert {value for by, value in found if by == "folder"} == {"a", "b", "(none)"}
    assert found[("column camera", "phone")] == 2 and found[("column camera", "(none)")] == 1


def test_a_unique_column_is_no_slice_and_rare_values_are_merged() -> None:
    ids = images(columns=[(("id", str(n)),) for n in range(40)])
    assert slice_sizes(ids) == {}
    places = [(("place", "many" if n < 30 else f"{n % 15}"),) for n in range(90)]
    found = slice_sizes(images(columns=places))
    assert len(found) == 12 and sum(found.values()) == 90
    assert found[("column place", "others")] > 4


def test_a_slice_is_worse_only_if_the_difference_is_significant() -> None:
    catalog = images(format=["jpeg"] * 40 + ["png"] * 40)
    correct = np.ones(80, bool)
    correct[:2] = False
    assert not any(row["worse"] for row in accuracy_by_slice(catalog, correct))
    correct[:20] = False
    rows = {row["value"]: row for row in accuracy_by_slice(catalog, correct)}
    assert rows["jpeg"]["worse"] and not rows["png"]["worse"]
    assert rows["jpeg"]["accuracy"]["value"] == pytest.approx(0.5)
    assert rows["jpeg"]["accuracy"]["low"] < 0.5 < rows["jpeg"]["accuracy"]["high"]


def test_sharpness_of_a_blurred_and_brightness_of_a_dark_image(tmp_path: Path) -> None:
    from PIL import ImageEnhance, ImageFilter

    sharp = picture(1, (300, 200))
    images = {
        "sharp": sharp,
        "blurred": sharp.filter(ImageFilter.GaussianBlur(4)),
        "dark": ImageEnhance.Brightness(sharp).enhance(0.3),
    }
    found = {}
    for name, image in images.items():
        path = tmp_path / f"{name}.png"
        image.save(path)
        item = Item(path, "cat")
        found[name] = inspect_file(item, max_pixels=10**6, decode=image_decoder()).item
    assert found["blurred"].sharpness < found["sharp"].sharpness / 5
    assert found["dark"].brightness == pytest.approx(found["sharp"].brightness * 0.3, abs=2)
    assert found["blurred"].brightness == pytest.approx(found["sharp"].brightness, abs=2)


def test_a_slice_of_one_group_is_not_significantly_worse() -> None:
    """All twelve errors are of one patient; as single images they are significant."""
    catalog = images(format=["png"] * 30 + ["jpeg"] * 90)
    correct = np.arange(120) >= 12
    single = {row["value"]: row for row in accuracy_by_slice(catalog, correct)}
    groups = np.repeat([0, 1, *range(2, 92)], [12, 18, *[1] * 90])
    grouped = {row["value"]: row for row in accuracy_by_slice(catalog, correct, groups)}
    assert single["png"]["worse"] and not grouped["png"]["worse"]
    assert grouped["png"]["accuracy"]["low"] < single["png"]["accuracy"]["low"]
    assert grouped["png"]["accuracy"]["rough"] and not grouped["jpeg"]["accuracy"]["rough"]
    assert grouped["jpeg"]["accuracy"] == single["jpeg"]["accuracy"]
