"""Options of the commands that train, and how they start a run and show it."""

import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tltool.cli.terminal.console import print_json
from tltool.cli.terminal.gate_failures import show_results_first
from tltool.cli.terminal.results import show_run
from tltool.cli.terminal.shared_options import DATA, MACHINES, OUTPUT, RECIPE, RESULT
from tltool.runs import run_options
from tltool.runs.duration import parse_duration

if TYPE_CHECKING:
    from tltool.recipe.overrides import Override
    from tltool.recipe.schema import Recipe

Test = Annotated[
    str | None,
    typer.Option(
        metavar="DATA",
        help="Separate test images, used only for the final evaluation.",
        rich_help_panel=DATA,
    ),
]
Out = Annotated[
    Path | None,
    typer.Option(
        "--out",
        metavar="FOLDER",
        help="The run folder; it must be new or empty. By default runs/NAME-UTC.",
        rich_help_panel=OUTPUT,
    ),
]
Name = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        help="Name of the run and of the exported model; by default the run is named after the "
        "recipe, and the model after the folder or file DATA.",
        rich_help_panel=OUTPUT,
    ),
]
SavedModels = Annotated[
    Path,
    typer.Option(
        "--export-to",
        metavar="FOLDER",
        help="The model is exported to FOLDER/NAME/VERSION/.",
        rich_help_panel=OUTPUT,
    ),
]
Weights = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="A file of pretrained weights for the backbone.",
        rich_help_panel=RECIPE,
    ),
]
Device = Annotated[
    run_options.Device,
    typer.Option(
        metavar="auto|cpu|gpu",
        help="Device to train on: gpu for all GPUs, auto for the CPU if there are none.",
        rich_help_panel=MACHINES,
    ),
]
Workers = Annotated[
    int | None,
    typer.Option(
        min=1,
        metavar="N",
        help="Start N worker processes on this machine with Ray (extra 'cluster'). On CPUs the "
        "results are bit-identical for any number.",
        rich_help_panel=MACHINES,
    ),
]
Cluster = Annotated[
    str | None,
    typer.Option(
        metavar="auto|HOST:PORT",
        help="Use the workers of a running Ray cluster (extra 'cluster').",
        rich_help_panel=MACHINES,
    ),
]
Seed = Annotated[
    int | None,
    typer.Option(metavar="NUMBER", help="Random seed of the run.", rich_help_panel=RECIPE),
]
TensorBoard = Annotated[
    bool,
    typer.Option(
        "--tensorboard/--no-tensorboard",
        help="Write TensorBoard logs to the run.",
        rich_help_panel=OUTPUT,
    ),
]
Track = Annotated[
    list[str] | None,
    typer.Option(
        metavar="mlflow|wandb",
        help="Log the run to MLflow or Weights & Biases as well (extras 'mlflow' and 'wandb'). May "
        "be repeated.",
        rich_help_panel=OUTPUT,
    ),
]
Register = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        help="Register the exported model in MLflow; needs --track mlflow.",
        rich_help_panel=OUTPUT,
    ),
]
Asserts = Annotated[
    list[str] | None,
    typer.Option(
        "--assert",
        metavar="METRIC>=NUMBER",
        help="Condition such as 'recall[bees]>=0.85'; if it is not met, exit with code 4. May be "
        "repeated.",
        rich_help_panel=RESULT,
    ),
]
Strict = Annotated[
    bool,
    typer.Option(
        "--strict",
        help="Check --assert against the worse bound of the 95 % confidence interval.",
        rich_help_panel=RESULT,
    ),
]
TimeLimit = Annotated[
    str | None,
    typer.Option(
        metavar="DURATION",
        help="End training early enough to finish in this time, such as 90s, 30m, 1h30m or 2h: the "
        "best model so far is evaluated and exported. The result then depends on the speed of the "
        "machine.",
        rich_help_panel=RECIPE,
    ),
]
Budget = Annotated[
    str | None,
    typer.Option(
        metavar="DURATION",
        help="With --backbone auto: time for the choice of the backbone, such as 30s or 2m, which "
        "is the default.",
        rich_help_panel=RECIPE,
    ),
]
Corrections = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="Corrected labels from `tltool review`, applied to images of the same content, test "
        "images too. No image is changed.",
    ),
]
CorrectionsBy = Annotated[
    str | None,
    typer.Option(
        metavar="NAME", help="Whose decision counts where people disagree in --corrections."
    ),
]
EXPORTS = Path("saved_models")


def settings_of(
    settings: list[str] | None,
    *,
    data: str | None = None,
    backbone: str | None = None,
    name: str | None = None,
    seed: int | None = None,
    fold: str | None = None,
    asserts: list[str] | None = None,
    strict: bool = False,
) -> list["Override"]:
    """Return what the command line sets of a recipe: by ``--set`` or by a flag.

    Without a name of its own, a run with another backbone is called after the backbone.

    Raises:
        UsageError: one of ``settings`` is not KEY=VALUE.
    """
    from tltool.recipe.overrides import Override, parse_override
    from tltool.recipe.source_text import run_name

    flags = {
        "--backbone": ("model.backbone", backbone),
        "--name": ("name", name),
        "--seed": ("seed", seed),
        "--fold": ("data.fold", fold),
        "the argument": ("data.source", _source(data)),
        "--assert": ("evaluate.asserts", asserts or None),
        "--strict": ("evaluate.strict", strict or None),
    }
    overrides = [
        *(
            Override(key, value, f"{flag} {value}")
            for flag, (key, value) in flags.items()
            if value is not None
        ),
        *(parse_override(setting) for setting in settings or []),
    ]
    if backbone and all(override.key != "name" for override in overrides):
        option = f"--backbone {backbone}"
        overrides.append(Override("name", run_name(backbone), option, by_user=False))
    return overrides


def seconds_of(text: str | None, option: str = "--time-limit") -> float | None:
    """Return the seconds of an option with a length of time.

    Raises:
        UsageError: it is not a length of time.
    """
    return None if text is None else parse_duration(text, option=option)


def train(
    recipe: "Recipe",
    options: run_options.RunOptions,
    *,
    budget: float | None = None,
    json: bool,
    quiet: bool,
    debug: bool,
) -> None:
    """Run the quick checks, train, and print the result."""
    from tltool.cli.terminal.progress import shown
    from tltool.workflows.preflight.run import check_recipe_run

    started = time.perf_counter()
    check_recipe_run(recipe, options, budget=budget)
    with show_results_first(json=json), shown(quiet=quiet, debug=debug) as display:
        from tltool.workflows.finetune import train_recipe

        # the loading of TensorFlow counts too
        options = replace(options, seconds_before=time.perf_counter() - started)
        result = train_recipe(recipe, options, budget=budget, observer=display)
    document = {
        "run": str(result.run),
        "export": str(result.export) if result.export else None,
        "metrics": result.metrics,
        # with the loading of TensorFlow, which the workflow does not see
        "seconds": {**result.seconds, "total": time.perf_counter() - started},
    }
    if json:
        print_json(document)
    elif result.metrics:  # the first of several workers has them
        show_run(document)


def _source(data: str | None) -> str | None:
    """Return the source for the recipe; None where its name is no text that YAML could hold."""
    from tltool.recipe.source_text import anchored

    if data is None:
        return None
    source = anchored(data)
    try:
        source.encode()
    except UnicodeEncodeError:
        return None
    return source
