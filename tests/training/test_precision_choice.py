"""float32 or bfloat16: chosen by a measurement, remembered, and not changed by noise."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from pathlib import Path

import keras
import pytest

from tltool.models.backbone_registry import get_backbone
from tltool.models.build import build_model
from tltool.models.network_parts import Network
from tltool.training import precision_choice
from tltool.training.precision import FLOAT32, recorded_precision
from tltool.training.precision_choice import Measured, choose, measure, measured_precision
from tltool.training.validation import Pooling


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TLTOOL_MEASUREMENTS_DIR", str(tmp_path / "new" / "measurements"))
    monkeypatch.setattr(precision_choice, "cpu_has_bfloat16", lambda: True)
    return tmp_path / "new" / "measurements"


@pytest.fixture
def speeds(monkeypatch: pytest.MonkeyPatch) -> list[Measured]:
    """Return a list of the rounds that measurements to come will find, the last one first."""
    rounds: list[Measured] = []
    monkeypatch.setattr(precision_choice, "measure", lambda *_: rounds.pop())
    return rounds


def network(size: int = 32, name: str = "resnet18") -> Network:
    """Return a tiny network that passes for one of another name."""
    model = build_model(
        get_backbone("tiny_vgg"),
        image_size=(size, size),
        classes=2,
        head="gap",
        dropout=0.0,
        hidden_units=1,
        norm="none",
        weights=None,
        seed=0,
    )
    tiny = get_backbone("tiny_vgg")
    large = replace(tiny, name=name, parameters=get_backbone(name).parameters)
    return Network(model, large, "gap")


FASTER: Measured = ((1.0, 1.2), (1.0, 1.3))  # float32, bfloat16


@pytest.mark.parametrize(
    ("rounds", "chosen"),
    [
        (((1.0, 0.5),), "bfloat16"),
        (((1.0, 1.05), (1.0, 1.09)), "bfloat16"),  # within the noise
        (((1.0, 1.5), (1.0, 0.9)), "bfloat16"),  # not in every round
        (FASTER, "float32"),
    ],
)
def test_float32_must_be_clearly_faster_in_every_round(rounds: Measured, chosen: str) -> None:
    assert choose(rounds) == chosen


def test_a_measurement_is_remembered(place: Path, speeds: list[Measured]) -> None:
    speeds.append(FASTER)
    assert measured_precision(network()) == FLOAT32
    assert measured_precision(network()) == FLOAT32  # there is no second measurement to find
    (file,) = place.iterdir()
    assert json.loads(file.read_text())["cpu_seconds"] == [list(pair) for pair in FASTER]


def test_another_backbone_or_size_class_is_measured(place: Path, speeds: list[Measured]) -> None:
    speeds[:] = [((1.0, 0.5),), ((1.0, 0.5),), FASTER]
    assert measured_precision(network(size=32)) == FLOAT32
    assert measured_precision(network(size=24)) == FLOAT32  # up to 32: the same class
    assert measured_precision(network(size=40)).arithmetic == "bfloat16"
    assert measured_precision(network(name="vgg16")).arithmetic == "bfloat16"
    assert not speeds and len(list(place.iterdir())) == 3


@pytest.mark.parametrize("content", [b"", b"[]", b'{"key": 1}', b"\xff", b'{"choice": "int8"}'])
def test_a_damaged_file_is_measured_again(
    place: Path, speeds: list[Measured], content: bytes
) -> None:
    speeds[:] = [FASTER, ((1.0, 0.5),)]
    assert measured_precision(network()).arithmetic == "bfloat16"
    (file,) = place.iterdir()
    file.write_bytes(content)
    assert measured_precision(network()) == FLOAT32


def test_without_a_place_to_remember_it_still_measures(place: Path, speeds: list[Measured]) -> None:
    place.parent.touch()  # a file where the folder would be
    speeds[:] = [FASTER, FASTER]
    assert measured_precision(network()) == FLOAT32
    assert measured_precision(network()) == FLOAT32
    assert not speeds


def test_small_networks_and_old_processors_are_not_measured(
    place: Path, speeds: list[Measured], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert measured_precision(network(name="lenet5")).arithmetic == "bfloat16"
    monkeypatch.setattr(precision_choice, "cpu_has_bfloat16", lambda: False)
    assert measured_precision(network()) == FLOAT32
    assert not place.exists()


def test_measuring_is_quick_and_leaves_float32_active() -> None:
    small = network()
    run = Pooling(small.images_to_pooled, FLOAT32)
    image = keras.random.uniform((1, 32, 32, 3), seed=0)
    before = run(image)
    started = time.process_time()
    rounds = measure(run, small, recorded_precision("bfloat16", gpu=False))
    assert time.process_time() - started < 5
    assert 2 <= len(rounds) <= 3 and all(seconds >= 0 for pair in rounds for seconds in pair)
    assert (run(image) == before).all()
