"""tltool recipes sweep."""

import datetime
import itertools
import re
import statistics
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tltool.cli.terminal import options, training
from tltool.cli.terminal.console import line, out, print_json, print_table
from tltool.cli.terminal.errors import guarded
from tltool.cli.terminal.results import show_fields
from tltool.errors import UsageError, did_you_mean

if TYPE_CHECKING:
    from tltool.recipe.schema import Recipe
    from tltool.workflows.sweep import Combination, Sweep

_UNITS = {"s": 1, "m": 60, "h": 3600}
_MOST_SEEDS = 1000


@guarded
def sweep(
    recipe: Annotated[
        str, typer.Argument(metavar="RECIPE", help="A shipped recipe, or a recipe file.")
    ],
    photos: Annotated[
        str, typer.Argument(metavar="PHOTOS", help="Images: any source that finetune takes.")
    ],
    grid: Annotated[
        list[str] | None,
        typer.Option(metavar="KEY=V,V,…", help="Values of a key to try; may be repeated."),
    ] = None,
    seeds: Annotated[
        str, typer.Option(metavar="0..4|0,1,7", help="Seeds; each combination runs with each.")
    ] = "0..2",
    budget: Annotated[
        str | None, typer.Option(metavar="30m", help="Begin no run that would end later: s, m, h.")
    ] = None,
    overrides: options.Set = None,
    test: training.Test = None,
    out_folder: Annotated[
        Path | None,
        typer.Option(
            "--out",
            metavar="FOLDER",
            help="Folder of the runs; a sweep that was stopped goes on in it.",
        ),
    ] = None,
    weights: training.Weights = None,
    device: training.Device = "auto",
    offline: options.Offline = False,
    json: options.Json = False,
    quiet: options.Quiet = False,
    debug: options.Debug = False,
) -> None:
    """Train a recipe with several settings and seeds, and say which differ for sure."""
    from tltool.cli.terminal.progress import shown
    from tltool.workflows.preflight.recipe import check_recipe
    from tltool.workflows.preflight.run import check_first
    from tltool.workflows.training_run.run_group import check_folder

    values, numbers, seconds = _grid(grid or []), _seeds(seeds), _seconds(budget)
    every = _combined(recipe, overrides or [], values)
    first = every[0]
    for one in every:  # what is wrong is told before anything is trained
        check_recipe(one, weights)
    check_first(first, photos, test=test, out=None, weights=weights, track=(), offline=offline)
    now = datetime.datetime.now(datetime.UTC)
    folder = out_folder or Path("runs") / f"sweep-{first.name}-{now:%Y%m%d-%H%M%S}"
    check_folder(folder)
    with shown(quiet=quiet, debug=debug) as display:
        from tltool.workflows.sweep import sweep as workflow

        found = workflow(
            recipe,
            photos,
            grid=values,
            seeds=numbers,
            settings=overrides or [],
            budget=seconds,
            test=test,
            out=folder,
            weights=weights,
            offline=offline,
            device=device,
            observer=display,
        )
    if json:
        print_json(_document(found, folder))
    else:
        _show(found, folder)


def _combined(recipe: str, overrides: list[str], values: dict[str, list[Any]]) -> "list[Recipe]":
    """Return the recipe of each combination."""
    from tltool.recipe.load import load_recipe
    from tltool.recipe.overrides import Override

    flags = [[Override(key, v, f"--grid {key}={v}") for v in many] for key, many in values.items()]
    return [load_recipe(recipe, [*overrides, *each]) for each in itertools.product(*flags)]


def _grid(given: list[str]) -> dict[str, list[Any]]:
    """Return the values to try, by key. A key may be told by its end, such as head.dropout."""
    from tltool.recipe.keys import all_keys
    from tltool.recipe.overrides import parse_override

    grid: dict[str, list[Any]] = {}
    for text in given:
        key, sign, raw = text.partition("=")
        if not sign or not raw:
            raise UsageError(
                f"--grid {text}: expected KEY=VALUE,VALUE", hint="such as head.dropout=0.2,0.5"
            )
        fitting = [known for known in all_keys() if f".{known}".endswith(f".{key.strip()}")]
        if len(fitting) > 1:
            raise UsageError(
                f"--grid {text}: '{key}' may be {' or '.join(fitting)}", hint="give the whole key"
            )
        if not fitting:
            near = did_you_mean(key.strip(), all_keys())
            raise UsageError(f"--grid {text}: the recipe has no key '{key}'.{near}")
        whole = fitting[0]
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


def _seconds(text: str | None) -> float | None:
    if text is None:
        return None
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([smh])", text)
    if not match:
        raise UsageError(f"--budget {text}: expected a time such as 90s, 30m or 2h")
    return float(match[1]) * _UNITS[match[2]]


def _show(found: "Sweep", folder: Path) -> None:
    console = out()
    keys = list(found.combinations[0].settings)
    line(console)
    columns = [*keys, "seeds", "accuracy", "± s.e.", "log-loss", "± s.e."]
    rows = [
        [
            *(str(one.settings[key]) for key in keys),
            str(len(one.runs)),
            *_mean_and_error(list(one.accuracies.values())),
            *_mean_and_error(list(one.losses.values())),
        ]
        for one in found.combinations
    ]
    print_table(console, columns, rows, title="Validation part, the best first")
    line(console)
    for text in _verdict(found):
        line(console, text)
    show_fields({"runs": folder})


def _verdict(found: "Sweep") -> list[str]:
    told = []
    measure = "accuracy" if found.monitor == "val_accuracy" else "log-loss"
    if found.winner:
        told.append(
            f"{_settings(found.winner)} is better than the second: {measure} {_interval(found)}"
        )
    elif found.difference is not None and found.low is not None:
        told.append(
            f"no winner: the first two differ in {measure} by {_interval(found)}, "
            "which may be chance"
        )
    elif found.difference is not None:
        told.append("no winner: one seed says nothing of chance; give more with --seeds")
    if found.left_out:
        told.append(f"{found.left_out} runs were left out, since the budget would not suffice")
    told.append("The validation part chose among these, so its figures are a little optimistic.")
    return told


def _interval(found: "Sweep") -> str:
    return (
        f"{found.difference:+.4f} (95 % interval {found.low:+.4f} to {found.high:+.4f}, "
        "paired by seed)"
    )


def _settings(one: "Combination") -> str:
    return ", ".join(f"{key}={value}" for key, value in one.settings.items())


def _mean_and_error(values: list[float]) -> tuple[str, str]:
    error = f"{statistics.stdev(values) / len(values) ** 0.5:.4f}" if len(values) > 1 else ""
    return f"{statistics.fmean(values):.4f}", error


def _document(found: "Sweep", folder: Path) -> dict[str, Any]:
    return {
        "folder": str(folder),
        "monitor": found.monitor,
        "combinations": [
            {
                "settings": dict(one.settings),
                "val_accuracy": one.accuracies,
                "val_loss": one.losses,
                "runs": {seed: str(run) for seed, run in one.runs.items()},
            }
            for one in found.combinations
        ],
        "winner": dict(found.winner.settings) if found.winner else None,
        "difference": found.difference,
        "low": found.low,
        "high": found.high,
        "left_out": found.left_out,
    }
