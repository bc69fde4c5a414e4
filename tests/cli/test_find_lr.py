"""Learning rates are tested and suggested, and nothing that is trained is kept."""

from __future__ import annotations

import csv
import json
import shlex
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.cli.conftest import TINY
from tests.conftest import merged, unless_thorough


def found(tltool, photos: Path, *arguments: str, settings: tuple[str, ...]):
    options = ("--recipe", "vgg16", "--out", "rates", "--offline", "--json", *arguments)
    return tltool("finetune", photos, "--find-lr", *options, settings=settings)


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize("mode", unless_thorough(["on", "off"], "on"))
def test_each_phase_is_tried_and_only_table_and_plot_are_left(tltool, make_photos, mode):
    settings = tuple(merged(*TINY, f"train.cache={mode}", "train.probe.enabled=false"))
    result = found(tltool, make_photos(), settings=settings)
    assert result.exit_code == 0, result.stderr
    document = json.loads(result.stdout)
    assert list(document["phases"]) == ["head", "finetune"]
    assert sorted(path.name for path in Path("rates").iterdir()) == [
        "learning_rates.csv", "learning_rates.png"
    ]  # fmt: skip
    assert not Path("saved_models").exists() and not Path("runs").exists()
    for name, phase in document["phases"].items():
        tried = [row for row in rows(Path("rates/learning_rates.csv")) if row["phase"] == name]
        rates = np.array([float(row["learning_rate"]) for row in tried])
        smooth = np.array([float(row["smoothed_loss"]) for row in tried])
        assert rates[0] == pytest.approx(1e-6)
        assert np.diff(np.log(rates)) == pytest.approx(np.log(1e7) / 119, rel=1e-3)
        assert phase["lowest_loss_at"] == pytest.approx(rates[smooth.argmin()], rel=1e-4)
        assert phase["suggestion"] == pytest.approx(phase["lowest_loss_at"] / 10, rel=0.05)
        assert smooth.min() < 0.9 * smooth[0]  # it learned
    with Image.open("rates/learning_rates.png") as plot:
        assert plot.width > 1000


@pytest.mark.slow
@pytest.mark.thorough
def test_a_network_without_a_cache_takes_half_the_steps_and_says_how_long(tltool, make_photos):
    whole = ("train.finetune.unfreeze=all", "train.probe.enabled=false", "train.head.epochs=0")
    result = found(tltool, make_photos(), settings=tuple(merged(*TINY, *whole, "train.cache=off")))
    assert result.exit_code == 0, result.stderr
    assert "nothing is cached: up to 60 rates" in result.stderr
    rates = [float(row["learning_rate"]) for row in rows(Path("rates/learning_rates.csv"))]
    assert 30 < len(rates) <= 60
    assert np.diff(np.log(rates)) == pytest.approx(np.log(1e7) / 59, rel=1e-3)


def test_the_next_command_has_the_rates(tltool, make_photos):
    settings = tuple(merged(*TINY, "train.finetune.epochs=0"))
    result = tltool(
        *("finetune", make_photos(), "--find-lr", "--out", "rates", "--offline"),
        *("--set", "train.head.learning_rate=0.5", "--name", "two-words"),
        settings=settings,
    )
    assert result.exit_code == 0, result.stderr
    command = next(line for line in result.stdout.splitlines() if "learning_rate=" in line)
    words = shlex.split(command)
    assert "train.head.learning_rate=" in words[-1]
    assert command.count("learning_rate=") == 1
    assert {*settings, "two-words", "--offline"} < set(words)
    assert not {"--find-lr", "--out"} & set(words)
    assert "finetune.learning_rate" not in result.stdout


@pytest.mark.parametrize(
    ("arguments", "settings", "text"),
    [
        (("--kfold", "3"), (), "--find-lr keeps nothing"),
        ((), ("train.head.epochs=0", "train.finetune.epochs=0"), "uses no learning rate"),
    ],
)
def test_what_makes_no_sense_with_it(tltool, the_error, make_photos, arguments, settings, text):
    result = found(tltool, make_photos(), *arguments, settings=tuple(merged(*TINY, *settings)))
    assert result.exit_code == 2
    assert text in the_error(result)
    assert not Path("rates").exists()


def test_bad_photos_leave_no_folder(tltool, the_error, tmp_path):
    (tmp_path / "photos" / "a").mkdir(parents=True)
    result = found(tltool, tmp_path / "photos", settings=TINY)
    assert result.exit_code == 3
    assert not Path("rates").exists()
