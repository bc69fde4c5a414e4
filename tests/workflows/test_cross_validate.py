"""Cross-validation: each fold held out once, shared work, a mean with its error."""

from __future__ import annotations

import csv
import json
import shlex
import statistics
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from tests.conftest import ONLY_PROBE, merged
from tests.engine.local_engine import LocalEngine
from tests.workflows.conftest import write_fruit
from tltool.cli.main import app
from tltool.engine import cluster_address
from tltool.errors import UsageError
from tltool.evaluation.csv_tables import ValidationRows, write_validation
from tltool.evaluation.metrics.confidence_intervals import wilson_interval
from tltool.recipe.load import read_recipe
from tltool.runs.run_options import RunOptions
from tltool.workflows import group_runs
from tltool.workflows.cross_validate import (
    CrossValidation,
    cross_validate,
    mean_over,
    pool_accuracy,
)
from tltool.workflows.workers import TABLE


def rows(run: Path) -> list[dict[str, str]]:
    with (run / "split.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def short(tiny_settings: tuple[str, ...]) -> list[str]:
    """Return settings of a short run, without those that a cross-validation sets itself."""
    one_epoch = ("train.head.epochs=1", "train.finetune.epochs=1")
    settings = merged(*tiny_settings, *one_epoch, "augment.mixup.alpha=0.4")
    return [x for x in settings if not x.startswith("export.")]


def run_folds(
    photos: Path, out: Path, settings: list[str], cluster: str | None = None
) -> CrossValidation:
    """Cross-validate in two folds."""
    options = RunOptions(str(photos), cluster=cluster)
    return cross_validate(read_recipe("vgg16"), options, count=2, settings=settings, out=out)


@pytest.fixture(scope="module")
def crossed(fruit: Path, short: list[str], tmp_path_factory: pytest.TempPathFactory):
    """Return a cross-validation of two folds, and which passes its runs computed."""
    out = tmp_path_factory.mktemp("crossed") / "out"
    return run_folds(fruit, out, short), out


def test_every_photo_is_held_out_once(crossed):
    found, _ = crossed
    held = [
        {row["path"] for row in rows(Path(one.run)) if row["split"] == "validation"}
        for one in found.folds
    ]
    everything = {row["path"] for row in rows(Path(found.folds[0].run))}
    assert held[0] | held[1] == everything
    assert not held[0] & held[1]


def test_the_result_is_mean_and_standard_error_of_what_the_runs_measured(crossed):
    found, out = crossed
    document = json.loads((out / "kfold.json").read_text())
    for name, key in (("accuracy", "val_accuracy"), ("log_loss", "val_loss")):
        measured = [
            json.loads((Path(one.run) / "metrics.json").read_text())["validation"][key]
            for one in found.folds
        ]
        assert document[name]["mean"] == pytest.approx(statistics.fmean(measured))
        error = statistics.stdev(measured) / 2**0.5
        assert document[name]["standard_error"] == pytest.approx(error)
    assert document["test_accuracy"] == {"mean": None, "standard_error": None}
    assert mean_over([0.5]).standard_error is None


def test_the_pooled_accuracy_is_that_of_all_images_out_of_fold(crossed):
    found, out = crossed
    hits = images = 0
    for fold in found.folds:
        with (Path(fold.run) / "predictions.csv").open(newline="", encoding="utf-8") as file:
            lines = list(csv.DictReader(file))
        hits += sum(line["correct"] == "true" for line in lines)
        images += len(lines)
    pooled = json.loads((out / "kfold.json").read_text())["pooled_accuracy"]
    assert pooled["n"] == images == 24
    assert pooled["value"] == pytest.approx(hits / images)
    assert (pooled["low"], pooled["high"]) == pytest.approx(wilson_interval(hits, images))
    assert pooled["groups"] is None


def write_fold(run: Path, correct: list[bool], groups: list[int]) -> Path:
    run.mkdir()
    names = tuple(f"{run.name} {number}" for number in range(len(correct)))
    rows = ValidationRows(names, np.array(correct), np.zeros(len(correct)), np.array(groups))
    write_validation(run / "validation.csv", rows)
    return run


def test_images_of_one_group_widen_the_pooled_interval(tmp_path):
    correct = [True] * 20 + [False] * 5
    single, grouped = (
        [
            write_fold(
                tmp_path / f"{size} {fold}", correct, [fold * 25 + n // size for n in range(25)]
            )
            for fold in range(2)
        ]
        for size in (1, 5)
    )
    alone, films = pool_accuracy(single), pool_accuracy(grouped)
    assert alone and films
    assert (alone.value, alone.n, alone.groups) == (films.value, films.n, None)
    assert films.groups == 10
    assert films.low < alone.low and films.high > alone.high
    (single[0] / "validation.csv").unlink()
    assert pool_accuracy(single) is None  # a run of an earlier version


def test_a_fold_equals_its_run_alone(crossed, fruit, short, tmp_path):
    # alone it shares nothing, so that sharing can have changed nothing
    found, _ = crossed
    settings = [part for setting in short for part in ("--set", setting)]
    done = CliRunner().invoke(
        app,
        [
            *("finetune", str(fruit), "--fold", "1/2", "--out", str(tmp_path / "run"), *settings),
            *("--set", "export.enabled=false", "--json", "--quiet"),
        ],
    )
    assert done.exit_code == 0, done.stderr
    metrics = json.loads(done.stdout)["metrics"]
    assert metrics["validation"]["val_loss"] == found.folds[1].log_loss


def test_folds_by_workers_are_those_of_one_process(crossed, fruit, short, monkeypatch, tmp_path):
    """In any order; the workers are in this process."""

    class Backwards(LocalEngine):
        def map(self, work, numbers):
            return super().map(work, reversed([*numbers]))

    engine = nullcontext(Backwards(TABLE))
    monkeypatch.setattr(group_runs, "open_workers", lambda *_, **__: engine)
    monkeypatch.setattr(cluster_address, "find_spec", lambda _: True)
    found, out = crossed
    several = run_folds(fruit, tmp_path / "out", short, cluster="auto")
    text = json.dumps(several.to_json()).replace(str(tmp_path / "out"), str(out))
    assert text == json.dumps(found.to_json())
    for fold in ("fold-0", "fold-1"):
        ours, theirs = ((folder / fold) for folder in (tmp_path / "out", out))
        assert sorted(path.name for path in ours.iterdir()) == sorted(
            path.name for path in theirs.iterdir()
        )
        for name in ("recipe.yaml", "metrics.json", "predictions.csv", "validation.csv"):
            assert (ours / name).read_bytes() == (theirs / name).read_bytes()
        digests = {json.loads((run / "manifest.json").read_text())["model_digest"]
                   for run in (ours, theirs)}  # fmt: skip
        assert len(digests) == 1


def test_what_is_finished_is_read_and_other_settings_or_photos_are_refused(
    crossed, fruit, short, monkeypatch, tmp_path
):
    found, out = crossed

    def no_training(*_: object, **__: object) -> None:
        raise AssertionError("trained again")

    monkeypatch.setattr(group_runs, "start_run", no_training)
    again = run_folds(fruit, out, short)
    assert again == found
    with pytest.raises(UsageError, match="a run with other settings"):
        run_folds(fruit, out, [*short, "seed=5"])
    others = write_fruit(tmp_path / "others", n=6, seed=2)
    with pytest.raises(UsageError, match="were started with other images"):
        run_folds(others, out, short)


@pytest.mark.slow
def test_the_folds_of_a_table_are_used_and_the_test_part_is_in_none(fruit, short, tmp_path):
    runner = CliRunner()
    args = ["--kfold", "2", "--val", "0", "--test", "0.25", "--out", str(tmp_path / "split")]
    assert runner.invoke(app, ["data", "split", str(fruit), *args]).exit_code == 0
    file = str(tmp_path / "split" / "split.csv")
    settings = [part for setting in merged(*short, *ONLY_PROBE) for part in ("--set", setting)]
    done = runner.invoke(
        app, ["finetune", file, "--kfold", "2", "--out", str(tmp_path / "out"), *settings]
    )
    assert done.exit_code == 0, done.stderr
    assert "± s.e." in done.stdout
    assert "test accuracy" in done.stdout
    following = shlex.split(done.stdout.splitlines()[-1])
    assert following == ["tltool", "finetune", file, "--recipe", "vgg16", *settings]
    planned = {(row["label"], Path(row["path"]).name): row for row in rows(tmp_path / "split")}
    for fold in range(2):
        for row in rows(tmp_path / "out" / f"fold-{fold}"):
            plan = planned[row["label"], Path(row["path"]).name]
            held = "validation" if plan["fold"] == str(fold) else "train"
            assert row["split"] == ("test" if plan["split"] == "test" else held)
    wrong = runner.invoke(app, ["finetune", file, "--kfold", "3", *settings])
    assert wrong.exit_code == 2
    assert "gives 2 folds of its own" in wrong.stderr


@pytest.mark.parametrize(
    ("args", "code", "text"),
    [
        (["--fold", "2"], 3, "there are no folds"),
        (["--fold", "5/4"], 2, "no fold 5 of 4; the folds are 0 to 3"),
        (["--fold", "x"], 2, "data.fold"),
        (["--kfold", "2", "--fold", "1"], 2, "give one of them"),
        (["--kfold", "2", "--export-to", "there"], 2, "exports nothing"),
        (["--kfold", "9"], 3, "one each for 9 folds"),
    ],
)
def test_folds_that_are_not_there_are_refused(fruit, short, tmp_path, args, code, text):
    settings = [part for setting in short for part in ("--set", setting)]
    out = ["--out", str(tmp_path / "out")]
    done = CliRunner().invoke(app, ["finetune", str(fruit), *args, *settings, *out])
    assert done.exit_code == code, done.stderr
    assert text in done.stderr
    assert not list(tmp_path.rglob("recipe.yaml"))
