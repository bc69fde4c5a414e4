"""Several settings and seeds: shared work, honest winners."""

from __future__ import annotations

import json
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from tests.conftest import merged, unless_thorough
from tests.engine.local_engine import LocalEngine
from tests.workflows.conftest import write_fruit
from tltool.cli.main import app
from tltool.engine import cluster_address
from tltool.errors import UsageError
from tltool.evaluation.csv_tables import ValidationRows, write_validation
from tltool.events import SilentObserver
from tltool.recipe.load import read_recipe
from tltool.runs.run_options import RunOptions
from tltool.workflows import group_runs
from tltool.workflows import sweep as story
from tltool.workflows.sweep import sweep
from tltool.workflows.workers import TABLE


def run_sweep(photos: Path, out: Path, settings: tuple[str, ...], **how: object) -> story.Sweep:
    how = {"grid": {"model.head.dropout": [0.0, 0.5]}, "seeds": [0, 1], **how}
    options = RunOptions(str(photos), offline=True)
    return sweep(read_recipe("vgg16"), options, settings=settings, out=out, **how)


@pytest.fixture(scope="module")
def short(tiny_settings: tuple[str, ...]) -> tuple[str, ...]:
    """Return settings of a short run, without those that a sweep sets itself."""
    one_epoch = ("train.head.epochs=1", "train.finetune.epochs=1")
    return tuple(x for x in merged(*tiny_settings, *one_epoch) if not x.startswith("export."))


@pytest.mark.thorough
@pytest.mark.slow
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

    monkeypatch.setattr(group_runs, "start_run", no_training)
    again = run_sweep(fruit, tmp_path / "sweep", short)
    assert again == found
    with pytest.raises(UsageError, match="were started with other images"):
        run_sweep(write_fruit(tmp_path / "others", n=6, seed=2), tmp_path / "sweep", short)


@pytest.mark.thorough
@pytest.mark.slow
def test_a_run_of_a_sweep_equals_the_run_alone(fruit, tmp_path, short, finetune_tiny):
    grid = {"model.head.dropout": [0.5]}
    found = run_sweep(fruit, tmp_path / "sweep", short, grid=grid, seeds=[3])
    alone = finetune_tiny(fruit, *short, "model.head.dropout=0.5", "seed=3")
    assert found.combinations[0].losses[3] == alone.metrics["validation"]["val_loss"]


def test_a_budget_ends_the_sweep_and_says_how_much_was_left_out(fruit, tmp_path, short):
    found = run_sweep(fruit, tmp_path / "sweep", short, budget=0.01)
    assert found.left_out == 3
    assert found.winner is None


def test_machines_of_a_cluster_compare_the_images_of_the_group_not_of_a_run(
    fruit, tmp_path, short, monkeypatch
):
    """The second run comes first, and has OOD images; the workers are in this process."""

    class Backwards(LocalEngine):
        def map(self, work, numbers):
            return super().map(work, reversed([*numbers]))

    class Started(Exception):
        pass

    def begin(*_: object, **__: object) -> None:
        raise Started

    monkeypatch.setattr(group_runs, "start_run", begin)
    monkeypatch.setattr(group_runs, "open_workers", lambda *_, **__: nullcontext(Backwards(TABLE)))
    monkeypatch.setattr(cluster_address, "find_spec", lambda _: True)
    ood_images = write_fruit(tmp_path / "ood", n=1, seed=9) / "plum"
    options = RunOptions(str(fruit), offline=True, cluster="auto")
    grid = {"data.ood_images": [None, str(ood_images)]}
    recipe = read_recipe("vgg16")
    with pytest.raises(Started):
        sweep(recipe, options, settings=short, out=tmp_path / "out", grid=grid, seeds=[0])


def write_run(
    run: Path, validation: dict[str, tuple[bool, float]], *, training: int
) -> dict[str, Any]:
    """Write what a sweep reads of a finished run; return its metrics."""
    run.mkdir(parents=True)
    names = [*validation, *(f"train {n}" for n in range(training))]
    split = [f"{n},a,{'validation' if n in validation else 'train'},,,0" for n in names]
    (run / "split.csv").write_text("\n".join(["path,label,split,group,fold,sha256", *split]))
    correct, losses = (np.array(column) for column in zip(*validation.values(), strict=True))
    numbers = np.arange(len(validation))
    write_validation(
        run / "validation.csv", ValidationRows(tuple(validation), correct, losses, numbers)
    )
    return {"validation": {"val_accuracy": correct.mean(), "val_loss": losses.mean()}}


def judged(
    folder: Path, results: list[list[dict[str, tuple[bool, float]]]], monitor: str = "val_loss"
) -> story.Sweep:
    """Judge settings by what each seed of each reached on its validation images."""
    combinations = []
    for number, seeds in enumerate(results):
        combination = story.Combination({"a": number})
        for seed, validation in enumerate(seeds):
            run = folder / f"{number}-{seed}"
            combination.add(seed, run, write_run(run, validation, training=4 * len(validation)))
        combinations.append(combination)
    return story._judge(combinations, monitor, left_out=0)


def drawn(losses: list[float], seed: int) -> dict[str, tuple[bool, float]]:
    return {f"{seed}: {n}": (loss < 0.69, loss) for n, loss in enumerate(losses)}


def test_a_winner_is_named_if_it_differs_from_every_other(tmp_path):
    best, middle, worst = (
        [drawn([0.4 + 0.01 * seed + shift] * 5, seed) for seed in range(3)]
        for shift in (0.0, 0.1, 0.3)
    )
    clear = judged(tmp_path / "clear", [worst, best, middle])
    assert clear.winner and clear.rival
    assert (clear.winner.settings, clear.rival.settings) == ({"a": 1}, {"a": 2})
    assert clear.difference.mean == pytest.approx(-0.1)
    noisy = [drawn([0.4 + 0.2 * (seed == 0)] * 5, seed) for seed in range(3)]
    unclear = judged(tmp_path / "unclear", [worst, best, noisy])
    assert unclear.winner is None and unclear.rival
    assert unclear.rival.settings == {"a": 2}


def test_one_seed_or_one_setting_has_no_winner(tmp_path):
    single = judged(tmp_path / "seed", [[drawn([0.1] * 5, 0)], [drawn([0.9] * 5, 0)]])
    assert single.winner is None and single.difference.low is None
    assert single.difference.mean == pytest.approx(-0.8)
    alone = judged(tmp_path / "setting", [[drawn([0.1] * 5, seed) for seed in range(3)]])
    assert alone.winner is None and alone.rival is None and alone.difference.mean is None


def test_without_a_record_of_single_images_given_ones_have_no_winner(tmp_path):
    results = [[drawn([loss] * 9, 0)] * 3 for loss in (0.2, 0.9)]
    assert judged(tmp_path / "with", results).winner is not None
    for number in range(2):
        folder = tmp_path / "without" / f"{number}-1"
        write_run(folder, results[number][0], training=9)
        (folder / "validation.csv").unlink()
    combinations = [story.Combination({"a": number}) for number in range(2)]
    for number, combination in enumerate(combinations):
        for seed in range(2):
            run = tmp_path / ("without" if seed else "with") / f"{number}-1"
            combination.add(seed, run, {"validation": {"val_accuracy": 0, "val_loss": number}})
    assert story._judge(combinations, "val_loss", left_out=0).winner is None


@pytest.mark.parametrize("monitor", unless_thorough(["val_accuracy", "val_loss"], "val_loss"))
def test_equal_settings_on_given_images_rarely_have_a_winner(tmp_path, monitor: str):
    """Each setting is good at other images, and each run has luck of its own."""
    rng, named, repetitions = np.random.default_rng(0), 0, 25
    for repetition in range(repetitions):
        difficulty = rng.normal(-1, 1, 40) + rng.normal(0, 0.7, (3, 1, 40))
        margins = -difficulty + rng.normal(0, 0.1, (3, 5, 1)) + rng.normal(0, 0.5, (3, 5, 40))
        results = [[drawn(list(row), 0) for row in each] for each in np.logaddexp(0, -margins)]
        named += judged(tmp_path / str(repetition), results, monitor).winner is not None
    assert named <= 2


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


@pytest.mark.slow
def test_the_command_prints_a_table_and_a_verdict(fruit, tmp_path, short, monkeypatch):
    monkeypatch.setenv("NO_COLOR", "1")
    settings = merged(*short, "train.head.epochs=1", "train.finetune.epochs=0")
    flags = [flag for setting in settings for flag in ("--set", setting)]
    command = [
        "recipes", "sweep", "vgg16", str(fruit), "--grid", "head.dropout=0.0,0.5", "--seeds",
        "0..1", "--out", str(tmp_path / "out"), *flags,
    ]  # fmt: skip
    result = CliRunner().invoke(app, command)
    assert result.exit_code == 0, result.stderr
    assert "model.head.dropout" in result.stdout
    assert "± s.e." in result.stdout
    assert "no winner" in result.stdout or "is significantly better than" in result.stdout


@pytest.mark.thorough
def test_listeners_hear_which_run_it_is(fruit, tmp_path, short):
    class Listener(SilentObserver):
        def __init__(self) -> None:
            self.said: list[str] = []

        def on_message(self, text: str, *, level: str = "info") -> None:
            self.said.append(text)

    listener = Listener()
    run_sweep(fruit, tmp_path / "s", short, seeds=[0], budget=0.01, observer=listener)
    assert "run 1 of 2: model.head.dropout=0.0, seed 0" in listener.said
