"""tltool recipes sweep."""

import datetime
import itertools
import re
import statistics
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tltool.cli.terminal import recipe_shorthands, shared_options, training
from tltool.cli.terminal.completion import complete_recipe, complete_setting
from tltool.cli.terminal.console import line, out, print_json, print_table
from tltool.cli.terminal.error_output import guarded
from tltool.cli.terminal.results import show_fields
from tltool.errors import UsageError, did_you_mean
from tltool.runs.run_options import RunOptions

if TYPE_CHECKING:
    from tltool.recipe.load import RecipeFile
    from tltool.recipe.overrides import Override
    from tltool.workflows.resolve.run_spec import RunSpec
    from tltool.workflows.sweep import Combination, Sweep

_MOST_SEEDS = 1000


@guarded
def sweep(
    recipe: Annotated[
        str,
        typer.Argument(
            metavar="RECIPE",
            help="Name of a shipped recipe, or a recipe file.",
            autocompletion=complete_recipe,
        ),
    ],
    data: Annotated[
        str, typer.Argument(metavar="DATA", help="Labelled images: any data source of finetune.")
    ],
    grid: Annotated[
        list[str] | None,
        typer.Option(
            metavar="KEY=V,V,…",
            help="Values to try for a recipe key; may be repeated.",
            autocompletion=complete_setting,
        ),
    ] = None,
    seeds: Annotated[
        str,
        typer.Option(
            metavar="0..4|0,1,7", help="Random seeds; each combination is trained with each seed."
        ),
    ] = "0..2",
    budget: Annotated[
        str | None,
        typer.Option(
            metavar="30m",
            help="Time for all runs, in s, m or h: a run that would exceed it is not started.",
        ),
    ] = None,
    overrides: shared_options.Set = None,
    epochs: recipe_shorthands.Epochs = None,
    learning_rate: recipe_shorthands.LearningRate = None,
    batch_size: recipe_shorthands.BatchSize = None,
    image_size: recipe_shorthands.ImageSize = None,
    test: training.Test = None,
    out_folder: Annotated[
        Path | None,
        typer.Option(
            "--out",
            metavar="FOLDER",
            help="Folder of the runs; give the folder of an interrupted sweep to continue it.",
        ),
    ] = None,
    weights: training.Weights = None,
    device: training.Device = "auto",
    workers: training.Workers = None,
    cluster: training.Cluster = None,
    corrections: training.Corrections = None,
    corrections_by: training.CorrectionsBy = None,
    offline: shared_options.Offline = False,
    json: shared_options.Json = False,
    quiet: shared_options.Quiet = False,
    debug: shared_options.Debug = False,
) -> None:
    """Train a recipe with several settings and seeds, and test whether the settings differ.

    A sweep exports no model: train the best setting once more with tltool finetune.
    """
    from tltool.cli.terminal.progress import shown
    from tltool.recipe.load import read_recipe
    from tltool.recipe.shorthands import Shorthands, shorthand_overrides
    from tltool.workflows.preflight.recipe import check_spec
    from tltool.workflows.preflight.run import check_training
    from tltool.workflows.training_run.run_group import group_folder

    values, numbers, seconds = (
        _grid(grid or []),
        _seeds(seeds),
        training.seconds_of(budget, "--budget"),
    )
    file = read_recipe(recipe)
    shorthands = Shorthands(epochs, learning_rate, batch_size, image_size)
    settings = shorthand_overrides(file, training.settings_of(overrides), shorthands)
    specs = _combined(file, settings, values)
    for spec in specs:  # what is wrong is reported before anything is trained
        check_spec(spec, weights)
    run = RunOptions(
        data,
        test=test,
        weights=weights,
        offline=offline,
        device=device,
        workers=workers,
        cluster=cluster,
        corrections=corrections,
        corrections_by=corrections_by,
    )
    check_training(specs[0], run)
    now = datetime.datetime.now(datetime.UTC)
    name = f"sweep-{specs[0].recipe.name}"
    with (
        group_folder(out_folder, name, now=now) as folder,
        shown(quiet=quiet, debug=debug) as display,
    ):
        from tltool.workflows.sweep import sweep as workflow

        result = workflow(
            file,
            run,
            out=folder,
            grid=values,
            seeds=numbers,
            settings=settings,
            budget=seconds,
            observer=display,
        )
    if json:
        print_json(_document(result, folder))
    else:
        _show(result, folder)


def _combined(
    file: "RecipeFile", settings: "list[Override]", values: dict[str, list[Any]]
) -> "list[RunSpec]":
    """Return the resolved recipe of each combination."""
    from tltool.recipe import overrides
    from tltool.workflows.resolve.run_spec import resolve

    flags = [
        [overrides.Override(key, v, f"--grid {key}={v}") for v in many]
        for key, many in values.items()
    ]
    return [resolve(file.recipe([*settings, *each])) for each in itertools.product(*flags)]


def _grid(texts: list[str]) -> dict[str, list[Any]]:
    """Return the values to try, by key. The end of a key is enough, such as head.dropout."""
    from tltool.recipe.key_paths import all_keys
    from tltool.recipe.overrides import parse_override

    grid: dict[str, list[Any]] = {}
    for text in texts:
        key, sign, raw = text.partition("=")
        if not sign or not raw:
            raise UsageError(
                f"--grid {text}: expected KEY=VALUE,VALUE", hint="such as head.dropout=0.2,0.5"
            )
        matches = [known for known in all_keys() if f".{known}".endswith(f".{key.strip()}")]
        if len(matches) > 1:
            raise UsageError(
                f"--grid {text}: '{key}' may be {' or '.join(matches)}", hint="give the whole key"
            )
        if not matches:
            near = did_you_mean(key.strip(), all_keys())
            raise UsageError(f"--grid {text}: the recipe has no key '{key}'.{near}")
        whole = matches[0]
        if whole in grid:
            raise UsageError(f"--grid names {whole} twice", hint="give all its values at once")
        grid[whole] = [parse_override(f"{whole}={part}").value for part in raw.split(",")]
    return grid


def _seeds(text: str) -> list[int]:
    span = re.fullmatch(r"(\d+)\.\.(\d+)", text)
    if span and int(span[1]) <= int(span[2]) < int(span[1]) + _MOST_SEEDS:
        return list(range(int(span[1]), int(span[2]) + 1))
    if re.fullmatch(r"\d+(,\d+)*", text):
        return list(dict.fromkeys(int(part) for part in text.split(",")))
    raise UsageError(f"--seeds {text}: expected 0..4 or 0,1,7")


def _show(result: "Sweep", folder: Path) -> None:
    console = out()
    keys = list(result.combinations[0].settings)
    line(console)
    columns = [*keys, "seeds", "accuracy", "± s.e.", "log-loss", "± s.e."]
    rows = [
        [
            *(str(one.settings[key]) for key in keys),
            str(len(one.runs)),
            *_mean_and_error(list(one.accuracies.values())),
            *_mean_and_error(list(one.losses.values())),
        ]
        for one in result.combinations
    ]
    print_table(console, columns, rows, title="Validation part, the best first")
    line(console)
    for text in _verdict(result):
        line(console, text)
    show_fields({"runs": folder})


def _verdict(result: "Sweep") -> list[str]:
    lines = []
    measure = "accuracy" if result.monitor == "val_accuracy" else "log-loss"
    difference, rival = result.difference, result.rival
    if result.winner and rival:
        others = "the other" if len(result.combinations) == 2 else "all others"
        lines.append(
            f"{_settings(result.winner)} is significantly better than {others}: {measure} "
            f"{_interval(result)} against {_settings(rival)}"
        )
    elif rival and difference.low is not None:
        lines.append(
            f"no winner: {_settings(result.combinations[0])} and {_settings(rival)} are not "
            f"significantly different: {measure} {_interval(result)}"
        )
    elif rival:
        lines.append("no winner: a single seed shows no variation; give more with --seeds")
    if result.left_out:
        lines.append(f"{result.left_out} runs were left out, since the budget would not suffice")
    lines.append("The validation part chose among these, so its figures are a little optimistic.")
    return lines


def _interval(result: "Sweep") -> str:
    mean, low, high = result.difference
    return f"{mean:+.4f} (95 % interval {low:+.4f} to {high:+.4f}, paired)"


def _settings(one: "Combination") -> str:
    return ", ".join(f"{key}={value}" for key, value in one.settings.items())


def _mean_and_error(values: list[float]) -> tuple[str, str]:
    error = f"{statistics.stdev(values) / len(values) ** 0.5:.4f}" if len(values) > 1 else ""
    return f"{statistics.fmean(values):.4f}", error


def _document(result: "Sweep", folder: Path) -> dict[str, Any]:
    return {
        "folder": str(folder),
        "monitor": result.monitor,
        "combinations": [
            {
                "settings": dict(one.settings),
                "val_accuracy": one.accuracies,
                "val_loss": one.losses,
                "runs": {seed: str(run) for seed, run in one.runs.items()},
            }
            for one in result.combinations
        ],
        "winner": dict(result.winner.settings) if result.winner else None,
        "rival": dict(result.rival.settings) if result.rival else None,
        "difference": result.difference.mean,
        "low": result.difference.low,
        "high": result.difference.high,
        "left_out": result.left_out,
    }
