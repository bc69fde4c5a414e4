"""tltool preview: the contact sheet, the ranking, and invalid arguments."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.conftest import by_cost
from tests.fork_server import ForkServer
from tltool.cli import preview
from tltool.evaluation.metrics.paired_tests import compare_with_first
from tltool.recipe.augment_section import AugmentSection
from tltool.workflows import rank_augmentations
from tltool.workflows.rank_augmentations import AugmentationEffect, AugmentationRanking
from tltool.workflows.resolve.augmentation import single_transforms

TINY = ("--set", "model.backbone=tiny_vgg", "--set", "model.weights=random")


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """Two classes that differ in their upper half: bright above, or bright below."""
    root = tmp_path_factory.mktemp("sky") / "photos"
    rng = np.random.default_rng(0)
    for label, top in (("upright", 220), ("upside_down", 30)):
        (root / label).mkdir(parents=True)
        for number in range(70):
            pixels = np.full((32, 32, 3), top, np.float32)
            pixels[16:] = 250 - top
            pixels += rng.normal(0, 25, pixels.shape)
            image = Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))
            image.save(root / label / f"{number:02d}.png")
    return root


@pytest.mark.thorough
@pytest.mark.slow
def test_the_sheet_shows_every_transform_of_the_recipe(tltool, photos, tmp_path):
    sheet = tmp_path / "sheet.png"
    result = tltool(
        "preview", photos, "--output", sheet, "--rows", 3, "--set", "augment.policy=medium",
        "--set", "augment.cutmix={}", *TINY, "--json",
    )  # fmt: skip
    assert result.exit_code == 0, result.stderr
    document = json.loads(result.stdout)
    assert document["picture"] == str(sheet)
    assert document["policy"] == "medium"
    assert document["transforms"] == [
        "flip horizontal", "crop", "rotation", "color_jitter", "mixup", "cutmix",
    ]  # fmt: skip
    assert len(document["images"]) == 3
    with Image.open(sheet) as image:
        pixels = np.asarray(image.convert("RGB"))
    # nine augmented columns: two bands with the originals and five or four transforms
    assert 2 * 3 * 168 < pixels.shape[0] < 9 * 168
    assert 6 * 168 < pixels.shape[1] < 7 * 168
    assert pixels.std() > 20


@pytest.mark.thorough
@pytest.mark.slow
def test_the_same_call_draws_the_same_sheet(tltool, photos, tmp_path):
    sheets = [tmp_path / f"{number}.png" for number in range(2)]
    noise = ("--set", "augment.policy=none", "--set", "augment.noise={}", *TINY)
    for sheet in sheets:
        assert tltool("preview", photos, "--output", sheet, "--rows", 2, *noise).exit_code == 0
    assert sheets[0].read_bytes() == sheets[1].read_bytes()


def test_a_recipe_without_augmentation_shows_the_originals(tltool, photos, tmp_path):
    sheet = tmp_path / "none.png"
    result = tltool("preview", photos, "--output", sheet, "--set", "augment.policy=none", *TINY)
    assert result.exit_code == 0
    assert "policy none" in result.stdout
    assert "Images are not augmented" in result.stdout
    with Image.open(sheet) as image:
        pixels = np.asarray(image.convert("RGB"))
    assert pixels.shape[1] > 3 * 168, "the title has room"
    assert (pixels[:, -10:] == 255).all(), "nothing is cut off"


def cells(sheet: Path, column: int, rows: int) -> list[np.ndarray]:
    """Return the pictures of a column of a sheet with one band, float32 [168, 168, 3]."""
    with Image.open(sheet) as image:
        pixels = np.asarray(image.convert("RGB")).astype(np.float32)
    left, first = 20 + column * 176, pixels.shape[0] - 20 - rows * 190
    return [pixels[first + row * 190 :, left:][:168, :168] for row in range(rows)]


@pytest.mark.thorough
def test_each_transform_alone_is_shown_near_its_maximum(tltool, photos, tmp_path):
    sheet = tmp_path / "noise.png"
    transforms = ("--set", "augment.policy=none", "--set", "augment.color_jitter={brightness: 0.5}")
    result = tltool("preview", photos, "--output", sheet, *transforms, *TINY)
    assert result.exit_code == 0, result.stderr
    assert "strongest of 12 samples" in " ".join(result.stdout.split())
    for original, augmented in zip(cells(sheet, 0, 4), cells(sheet, 1, 4), strict=True):
        assert abs(augmented.mean() / original.mean() - 1) > 0.25


@pytest.mark.thorough
def test_a_blend_is_visible_and_keeps_about_half_of_the_image(tltool, photos, tmp_path):
    sheet = tmp_path / "mixup.png"
    transforms = ("--set", "augment.policy=none", "--set", "augment.mixup={alpha: 0.1}")
    assert tltool("preview", photos, "--output", sheet, *transforms, *TINY).exit_code == 0
    for original, mixed in zip(cells(sheet, 0, 4), cells(sheet, 1, 4), strict=True):
        own, other = original[:80].mean(), original[-80:].mean()  # of the other class: upside down
        assert 0.45 < (mixed[:80].mean() - other) / (own - other) < 0.8


def test_augmentations_that_cannot_be_drawn_are_named(tltool, photos, tmp_path):
    alone = ("--set", "augment.policy=none", "--set", "augment.feature_noise={}")
    result = tltool("preview", photos, "--output", tmp_path / "sheet.png", *alone, *TINY)
    assert result.exit_code == 0, result.stderr
    assert "cannot be drawn: feature_noise." in " ".join(result.stdout.split())


def rank_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the command rank once, and print that ranking whenever it is called again."""
    rankings, rank = list[AugmentationRanking](), preview._rank

    def ranked(*args: Any, **kwargs: Any) -> AugmentationRanking:
        rankings[:] = rankings or [rank(*args, **kwargs)]
        return rankings[0]

    monkeypatch.setattr(preview, "_rank", ranked)


SOME = ("flip horizontal", "flip vertical", "rotation", "jpeg", "mixup", "cutmix")


def rank_some(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave out of the candidates what is not in SOME: a graph is traced for each."""

    def some(*args: Any, **kwargs: Any) -> dict[str, Any]:
        every = single_transforms(*args, **kwargs)
        return {name: spec for name, spec in every.items() if name in SOME}

    monkeypatch.setattr(rank_augmentations, "single_transforms", some)


def candidates() -> set[str]:
    return set(single_transforms(AugmentSection(policy="none"), every=True))


def test_the_candidates_of_the_ranking_are_all_augmentations():
    more = {"rotation", "rand_augment", "aug_mix", "grid_mask", "jpeg"}
    assert {*SOME, *more} <= candidates()


@pytest.mark.parametrize("tested", by_cost(["some", "all"], thorough=["some"]))
def test_the_ranking_finds_the_flip_that_turns_one_class_into_the_other(
    tltool, photos, monkeypatch, tested
):
    if tested == "some":
        rank_some(monkeypatch)
    most = ("--set", "data.validation_fraction=0.7")  # 98 images
    rank_once(monkeypatch)
    result = tltool("preview", photos, "--rank", *TINY, *most, "--json")
    assert result.exit_code == 0, result.stderr
    document = json.loads(result.stdout)
    assert document["accuracy"] > 0.8
    effects = {effect["name"]: effect for effect in document["augmentations"]}
    assert document["augmentations"][0]["name"] == "flip vertical"
    assert effects["flip vertical"]["advice"] == "leave it out"
    assert effects["flip vertical"]["accuracy"] < 0.3
    assert not effects["flip vertical"]["used"]
    assert effects["flip horizontal"]["advice"] == "safe"
    assert effects["flip horizontal"]["used"]
    names = set(SOME) if tested == "some" else candidates()
    assert effects.keys() == names - {"mixup", "cutmix"}
    assert document["warning"] == ""
    shown = tltool("preview", photos, "--rank", *TINY, *most)
    assert "flip vertical: " in shown.stdout
    assert ": leave it out" in shown.stdout
    assert "(mixup, cutmix)" in shown.stdout


@pytest.mark.thorough
def test_with_few_images_the_advice_is_unsure_and_a_warning_is_shown(tltool, photos, monkeypatch):
    rank_once(monkeypatch)
    few = ("--set", "data.validation_fraction=0.15")
    result = tltool("preview", photos, "--rank", *TINY, *few, "--json")
    assert result.exit_code == 0, result.stderr
    document = json.loads(result.stdout)
    assert document["n"] < 30
    for effect in document["augmentations"]:
        assert effect["advice"] != "safe"
        assert effect["advice"] != "unsure" or not effect["against_original"]["distinguishable"]
    flipped = document["augmentations"][0]
    assert flipped["name"] == "flip vertical" and flipped["advice"] == "leave it out"
    advice = [effect["advice"] for effect in document["augmentations"]]
    assert document["warning"].startswith(
        f"{document['n']} validation images are too few: {advice.count('unsure')} of {len(advice)}"
    )
    shown = tltool("preview", photos, "--rank", *TINY, *few)
    assert document["warning"] in " ".join(shown.stdout.split())


@pytest.mark.parametrize(
    ("only_original", "only_augmented", "n", "advice"),
    [
        (5, 1, 31, "unsure"),  # -12.9 points, -29 to +3
        (14, 2, 31, "leave it out"),  # -38.7 points, -58 to -16
        (0, 0, 31, "unsure"),
        (0, 1, 31, "unsure"),
        (0, 0, 60, "unsure"),
        (0, 0, 74, "unsure"),
        (0, 0, 75, "safe"),
        (6, 5, 200, "safe"),
        (16, 1, 200, "make it weaker"),
        (8, 0, 200, "unsure"),
    ],
)
def test_the_advice_follows_from_the_interval(only_original, only_augmented, n, advice):
    original = np.arange(n) >= only_augmented
    augmented = original.copy()
    augmented[:only_augmented] = True
    augmented[n - only_original :] = False
    paired = compare_with_first(original, [augmented] * 17)[0]
    assert AugmentationEffect("crop", True, augmented, paired).advice == advice


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("--output", "there.png"), "'there.png' exists"),
        (("--output", "sheet.jpg"), "'sheet.jpg' is not the name of a PNG file"),
        (("--output", "nowhere/sheet.png"), "its folder does not exist"),
        (("--rank", "--all"), "--rank tests all augmentations"),
        (("--set", "augment.policy=meduim"), "Did you mean 'medium'?"),
        (("--rows", "1"), "--rows"),
    ],
)
def test_invalid_arguments_are_reported(tltool, photos, arguments, expected):
    mine = Path("there.png")
    mine.write_bytes(b"mine")
    result = tltool("preview", photos, *arguments, *TINY)
    assert result.exit_code == 2
    assert expected in result.stderr
    assert mine.read_bytes() == b"mine"


@pytest.mark.parametrize(
    "arguments",
    [
        ("photos", "--output", "there.png"),
        ("photos", "--output", "sheet.jpg"),
        ("photos", "--output", "nowhere/sheet.png"),
        ("nowhere",),
        ("empty",),
        ("photos", "--set", "model.backbone=nowhere"),
        ("empty", "--rank"),
        ("photos", "--rank", "--offline"),
    ],
)
def test_errors_known_in_advance_are_reported_before_tensorflow_is_loaded(
    forked_cli: ForkServer, photos, tmp_path, no_weights, arguments
):
    (tmp_path / "photos").symlink_to(photos)
    (tmp_path / "empty").mkdir()
    (tmp_path / "there.png").write_bytes(b"mine")
    program = (
        "import sys\n"
        "from tltool.cli.main import app\n"
        "try: app(['preview', *sys.argv[1:]])\n"
        "except SystemExit as end: print(end.code, 'tensorflow' in sys.modules)"
    )
    result = forked_cli.run(program, *arguments, cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert result.stdout.split() in (["2", "False"], ["3", "False"], ["5", "False"]), result.stderr
    assert result.stderr.count("error: ") == 1
