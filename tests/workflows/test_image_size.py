"""data.image_size: auto: small images are not enlarged without need."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import ONLY_PROBE, merged, write_photos
from tests.workflows.conftest import TINY
from tltool.data.catalog import Item
from tltool.events import SilentObserver
from tltool.models.backbone_registry import get_backbone
from tltool.recipe.load import load_recipe
from tltool.workflows.dataset.dataset import load_dataset
from tltool.workflows.dataset.image_size import fit_image_size, size_by_images
from tltool.workflows.finetune import finetune
from tltool.workflows.resolve.run_spec import resolve


class Messages(SilentObserver):
    """Keeps what is said."""

    def __init__(self) -> None:
        self.texts: list[str] = []

    def on_message(self, text: str, *, level: str = "info") -> None:
        self.texts.append(text)


def fitted(folder: Path, *settings: str) -> tuple[int, list[str]]:
    """Return the side of the network input for the images in ``folder``, and what was said."""
    spec, observer = resolve(load_recipe("vgg16", settings)), Messages()
    dataset = load_dataset(
        str(folder),
        test=None,
        settings=spec.recipe.data,
        seed=0,
        offline=True,
        observer=SilentObserver(),
    )
    return fit_image_size(spec, dataset, observer).decode.height, observer.texts


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return images of 150 x 120 pixels."""
    return write_photos(tmp_path_factory.mktemp("small") / "photos", n=4, size=(150, 120))


def test_small_images_are_not_enlarged_and_one_line_says_so(small):
    side, texts = fitted(small)
    assert side == 128
    assert len(texts) == 1 and "128 x 128 pixels instead of 224 x 224" in texts[0]
    assert "median of the shorter sides 120 pixels" in texts[0]
    assert "--set data.image_size=224" in texts[0]


@pytest.mark.parametrize(
    ("settings", "side"),
    [
        (("data.image_size=160",), 160),
        (("data.image_size=null",), 224),
        (("model.weights=random",), 224),
        (("model.backbone=efficientnet_lite1",), 128),
    ],
)
def test_a_size_that_is_set_and_random_weights_stay_as_they_are(small, settings, side):
    assert fitted(small, *settings)[0] == side


@pytest.mark.parametrize(
    ("width", "height", "side", "larger"),
    [(8, 8, 64, 64), (97, 300, 128, 128), (223, 300, 224, 224), (500, 375, 224, 260)],
)
def test_the_size_is_between_64_pixels_and_that_of_the_backbone(width, height, side, larger):
    items = [Item(Path("one.png"), "a", width=width, height=height)] * 3
    assert size_by_images(get_backbone("vgg16"), items) == side
    assert size_by_images(get_backbone("efficientnet_lite2"), items) == larger


def test_test_images_do_not_decide_it(tmp_path):
    for part, size in (("train", 100), ("val", 100), ("test", 400)):
        write_photos(tmp_path / part, n=3 if part != "test" else 12, size=size, seed=len(part))
    assert fitted(tmp_path)[0] == 128


@pytest.mark.thorough
def test_the_model_keeps_the_size_and_the_recipe_stays_auto(tmp_path):
    photos = write_photos(tmp_path / "photos", n=4, size=(70, 50))
    weights = tmp_path / "resnet.weights.h5"
    save_random_weights("resnet18", weights)
    settings = ("model.backbone=resnet18", f"model.weights={weights}", "data.image_size=auto")
    recipe = load_recipe("vgg16", merged(*TINY, *ONLY_PROBE, *settings))
    run = finetune(photos, recipe=recipe, out=tmp_path / "run", tensorboard=False).run
    decode = json.loads((run / "artifact.json").read_text())["decode"]
    assert (decode["height"], decode["width"]) == (64, 64)
    assert load_recipe(str(run)).data.image_size == "auto"


def save_random_weights(name: str, file: Path) -> None:
    from tltool.models.build import build_model

    options: dict[str, Any] = {"head": "gap", "dropout": 0.0, "hidden_units": 1, "norm": "none"}
    build_model(
        get_backbone(name), image_size=(32, 32), classes=2, weights=None, seed=1, **options
    ).save_weights(file)
