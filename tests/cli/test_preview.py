"""tltool preview: the picture, the measurement, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

TINY = ("--set", "model.backbone=tiny_vgg", "--set", "model.weights=random")


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """Two classes told apart by their upper half: bright above, or bright below."""
    root = tmp_path_factory.mktemp("sky") / "photos"
    rng = np.random.default_rng(0)
    for label, top in (("upright", 220), ("upside_down", 30)):
        (root / label).mkdir(parents=True)
        for number in range(40):
            pixels = np.full((32, 32, 3), top, np.float32)
            pixels[16:] = 250 - top
            pixels += rng.normal(0, 25, pixels.shape)
            image = Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))
            image.save(root / label / f"{number:02d}.png")
    return root


def test_the_sheet_shows_every_change_of_the_recipe(tltool, photos, tmp_path):
    sheet = tmp_path / "sheet.png"
    result = tltool(
        "preview", photos, "--to", sheet, "--rows", 3, "--set", "augment.policy=medium",
        "--set", "augment.cutmix={}", *TINY, "--json",
    )  # fmt: skip
    assert result.exit_code == 0, result.stderr
    document = json.loads(result.stdout)
    assert document["picture"] == str(sheet)
    assert document["policy"] == "medium"
    assert document["changes"] == [
        "flip horizontal", "crop", "rotation", "color_jitter", "mixup", "cutmix",
    ]  # fmt: skip
    assert len(document["photos"]) == 3
    with Image.open(sheet) as image:
        pixels = np.asarray(image.convert("RGB"))
    # nine changed columns: two bands of the photos and five or four ways of changing them
    assert 2 * 3 * 168 < pixels.shape[0] < 9 * 168
    assert 6 * 168 < pixels.shape[1] < 7 * 168
    assert pixels.std() > 20


def test_the_same_call_draws_the_same_sheet(tltool, photos, tmp_path):
    sheets = [tmp_path / f"{number}.png" for number in range(2)]
    for sheet in sheets:
        assert tltool("preview", photos, "--to", sheet, "--rows", 2, *TINY).exit_code == 0
    assert sheets[0].read_bytes() == sheets[1].read_bytes()


def test_a_recipe_without_augmentation_shows_the_photos(tltool, photos, tmp_path):
    sheet = tmp_path / "none.png"
    result = tltool("preview", photos, "--to", sheet, "--set", "augment.policy=none", *TINY)
    assert result.exit_code == 0
    assert "policy none" in result.stdout
    assert sheet.is_file()


def test_fitness_finds_the_flip_that_turns_one_class_into_the_other(tltool, photos):
    result = tltool("preview", photos, "--fitness", *TINY, "--json")
    assert result.exit_code == 0, result.stderr
    document = json.loads(result.stdout)
    assert document["accuracy"] > 0.8
    fits = {fit["change"]: fit for fit in document["changes"]}
    assert document["changes"][0]["change"] == "flip vertical"
    assert fits["flip vertical"]["advice"] == "leave it out"
    assert fits["flip vertical"]["accuracy"] < 0.3
    assert not fits["flip vertical"]["used"]
    assert fits["flip horizontal"]["advice"] == "fits"
    assert fits["flip horizontal"]["used"]
    assert {"rotation", "rand_augment", "aug_mix", "grid_mask", "jpeg"} <= fits.keys()
    assert not {"mixup", "cutmix"} & fits.keys()
    told = tltool("preview", photos, "--fitness", *TINY)
    assert "flip vertical: " in told.stdout
    assert ": leave it out" in told.stdout


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("--to", "there.png"), "'there.png' exists"),
        (("--to", "sheet.jpg"), "'sheet.jpg' is not called .png"),
        (("--to", "nowhere/sheet.png"), "its folder does not exist"),
        (("--fitness", "--all"), "--fitness measures all changes"),
        (("--set", "augment.policy=meduim"), "Did you mean 'medium'?"),
        (("--rows", "1"), "--rows"),
    ],
)
def test_what_cannot_be_drawn_is_refused(tltool, photos, arguments, told):
    mine = Path("there.png")
    mine.write_bytes(b"mine")
    result = tltool("preview", photos, *arguments, *TINY)
    assert result.exit_code == 2
    assert told in result.stderr
    assert mine.read_bytes() == b"mine"
