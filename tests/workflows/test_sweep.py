"""Several settings and seeds: shared work, honest winners."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from tests.workflows.conftest import write_fruit
from tltool.cli.main import app
from tltool.errors import UsageError
from tltool.events import SilentObserver
from tltool.recipe.load import read_recipe
from tltool.runs.run_options import RunOptions
from tltool.workflows import sweep as story
from tltool.workflows.sweep import paired_interval, sweep


def run_sweep(photos: Path, out: Path, settings: tuple[str, ...], **how: object) -> story.Sweep:
    how = {"grid": {"model.head.dropout": [0.0, 0.5]}, "seeds": [0, 1], **how}
    options = RunOptions(str(photos), offline=True)
    return sweep(read_recipe("vgg16"), options, settings=settings, out=out, **how)


@pytest.fixture(scope="module")
def short(tiny_settings: tuple[str, ...]) -> tuple[str, ...]:
    """Return settings of a short run, without those that a sweep sets itself."""
    return tuple(x for x in tiny_settings if not x.startswith("export."))


def test_every_combination_runs_with_every_seed_and_a_second_call_reads_them(
    fruit, tmp_path, short, monkeypatch
):
    found = run_sweep(fruit, tmp_path / "sweep", short)
    assert sorted(one.settings["model.head.dropout"] for one in found.combinations) == [0.0, 0.5]
    for one in found.combinations:
        assert set(one.losses) == {0, 1}
        for seed, run in one.runs.items():
            metrics = json.loads((run / "metrics.json").read_text())
            assert metrics["validation"]["val_loss"] == one.losses[seed]
    means = [np.mean(list(one.losses.values())) for one in found.combinations]
    assert means == sorted(means)
    # per seed: validation and training images, once without augmentation; the probe is shared
    passes = [path.name for path in (tmp_path / "sweep" / "cache").iterdir()]
    assert len([name for name in passes if not name.startswith("probe-")]) == 4
    assert len([name for name in passes if name.startswith("probe-")]) == 2

    def no_training(*_: object, **__: object) -> None:
        raise AssertionError("trained again")

    monkeypatch.setattr(story, "start_run", no_training)
    again = run_sweep(fruit, tmp_path / "sweep", short)
    assert again == found
    with pytest.raises(UsageError, match="were started with other images"):
        run_sweep(write_fruit(tmp_path / "others", n=6, seed=2), tmp_path / "sweep", short)


def test_a_run_of_a_sweep_equals_the_run_alone(fruit, tmp_path, short, finetune_tiny):
    grid = {"model.head.dropout": [0.5]}
    found = run_sweep(fruit, tmp_path / "sweep", short, grid=grid, seeds=[3])
    alone = finetune_tiny(fruit, "model.head.dropout=0.5", "seed=3")
    assert found.combinations[0].losses[3] == alone.metrics["validation"]["val_loss"]


def test_a_budget_ends_the_sweep_and_says_how_much_was_left_out(fruit, tmp_path, short):
    found = run_sweep(fruit, tmp_path / "sweep", short, budget=0.01)
    assert found.left_out == 3
    assert found.winner is None


def test_intervals_of_paired_differences_cover_the_truth():
    rng = np.random.default_rng(0)
    hits = 0
    for _ in range(400):
        _, low, high = paired_interval(list(rng.normal(0.3, 1.0, 5)))
        assert low is not None
        assert high is not None
        hits += low <= 0.3 <= high
    assert 0.92 <= hits / 400 <= 0.98  # 95 % and three standard errors of 400


def test_one_pair_has_no_interval():
    assert paired_interval([0.2]) == (0.2, None, None)
    assert paired_interval([]) == (None, None, None)


def judged(first: list[float], second: list[float]) -> story.Sweep:
    combinations = [
        story.Combination({"a": name}, {}, dict(enumerate(losses)), dict.fromkeys(range(9), Path()))
        for name, losses in (("first", first), ("second", second))
    ]
    return story._judge(combinations, "val_loss", left_out=0)


def test_a_winner_is_named_only_beyond_chance():
    clear = judged([0.50, 0.42, 0.46], [0.61, 0.52, 0.57])
    assert clear.winner is not None
    assert clear.winner.settings == {"a": "first"}
    assert judged([0.5, 0.6, 0.4], [0.6, 0.4, 0.55]).winner is None


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--grid", "head.dropuot=0.1,0.2"], "Did you mean 'model.head.dropout'?"),
        (["--grid", "dropout"], "KEY=VALUE"),
        (["--grid", "head.dropout=0.1", "--grid", "model.head.dropout=0.2"], "twice"),
        (["--grid", "epochs=1,2"], "may be"),
        (["--seeds", "4..0"], "--seeds"),
        (["--budget", "soon"], "--budget"),
        (["--grid", "head.dropout=0.1,7"], "model.head.dropout"),
    ],
)
def test_a_wrong_sweep_is_one_clear_sentence(fruit, tmp_path, flags, message):
    command = ["recipes", "sweep", "scratch", str(fruit), "--out", str(tmp_path / "out"), *flags]
    result = CliRunner().invoke(app, command)
    assert result.exit_code == 2
    assert message in result.stderr
    assert not (tmp_path / "out").exists()


def test_the_command_prints_a_table_and_a_verdict(fruit, tmp_path, short, monkeypatch):
    monkeypatch.setenv("NO_COLOR", "1")
    flags = [flag for setting in short for flag in ("--set", setting)]
    command = [
        "recipes", "sweep", "vgg16", str(fruit), "--grid", "head.dropout=0.0,0.5", "--seeds",
        "0..1", "--out", str(tmp_path / "out"), *flags,
    ]  # fmt: skip
    result = CliRunner().invoke(app, command)
    assert result.exit_code == 0, result.stderr
    assert "model.head.dropout" in result.stdout
    assert "± s.e." in result.stdout
    assert "no winner" in result.stdout or "is better than the second" in result.stdout


def test_listeners_hear_which_run_it_is(fruit, tmp_path, short):
    class Listener(SilentObserver):
        def __init__(self) -> None:
            self.said: list[str] = []

        def on_message(self, text: str, *, level: str = "info") -> None:
            self.said.append(text)

    listener = Listener()
    run_sweep(fruit, tmp_path / "s", short, seeds=[0], budget=0.01, observer=listener)
    assert "run 1 of 2: model.head.dropout=0.0, seed 0" in listener.said
