"""tltool recipes."""

import shlex
from pathlib import Path
from typing import Annotated, Any

import typer

from tltool.cli.sweep import sweep
from tltool.cli.terminal import recipe_shorthands, shared_options, training
from tltool.cli.terminal.completion import complete_recipe
from tltool.cli.terminal.console import fail, line, out, print_json, print_table
from tltool.cli.terminal.error_output import guarded
from tltool.cli.terminal.streams import before_verdict
from tltool.cli.terminal.typer_app import Commands

app = Commands(help="Recipes: list, show, copy, validate, diff, run, sweep, schema.")
_ANY = "Name of a shipped recipe, a recipe file, or the folder of a run."
Reference = Annotated[
    str, typer.Argument(metavar="RECIPE", help=_ANY, autocompletion=complete_recipe)
]


@app.command("list")
@guarded
def list_recipes(json: shared_options.Json = False, debug: shared_options.Debug = False) -> None:
    """List the shipped recipes."""
    from tltool.recipe.library import shipped

    rows = shipped()
    if json:
        print_json([{"name": name, "summary": summary} for name, summary in rows])
        return
    print_table(out(), ["recipe", "what it does"], rows)


@app.command("show")
@guarded
def show(
    recipe: Reference,
    resolved: Annotated[
        bool, typer.Option("--resolved", help="Show every key, with bases and defaults filled in.")
    ] = False,
    overrides: shared_options.Set = None,
    json: shared_options.Json = False,
    debug: shared_options.Debug = False,
) -> None:
    """Print a recipe."""
    from tltool.recipe import library
    from tltool.recipe.load import load_recipe, to_yaml
    from tltool.recipe.text_file import read_text

    if json:
        print_json(load_recipe(recipe, overrides or []).model_dump(mode="json"))
    elif resolved or overrides:
        typer.echo(to_yaml(load_recipe(recipe, overrides or [])), nl=False)
    else:
        typer.echo(read_text(library.find(recipe)), nl=False)


@app.command("copy")
@guarded
def copy(
    recipe: Reference,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The new file; it must not exist.")],
    json: shared_options.Json = False,
    debug: shared_options.Debug = False,
) -> None:
    """Copy a shipped recipe to a file of your own."""
    from tltool.recipe.library import copy_recipe

    copy_recipe(recipe, file)
    if json:
        print_json({"recipe": recipe, "file": str(file)})
    else:
        line(out(), f"wrote {file}; use it with: --recipe {shlex.quote(str(file))}")


@app.command("validate")
@guarded
def validate(
    files: Annotated[
        list[str],
        typer.Argument(
            metavar="RECIPE",
            help="Shipped recipes, recipe files, or folders of runs.",
            autocompletion=complete_recipe,
        ),
    ],
    json: shared_options.Json = False,
    debug: shared_options.Debug = False,
) -> None:
    """Check recipes, and list every error and every unused setting."""
    from tltool.workflows.preflight.recipe import check_recipes

    checked = check_recipes(files)
    if json:
        with before_verdict():
            print_json([one._asdict() for one in checked])
    for name, problem, notes in checked:
        if problem is not None:
            fail(problem)
        elif not json:
            with before_verdict():
                line(out(), f"{name}: valid")
                for note in notes:
                    line(out(), f"note: {note}", indent=2)
    if any(one.problem for one in checked):
        raise typer.Exit(2)


@app.command("diff")
@guarded
def diff(
    a: Annotated[str, typer.Argument(metavar="A", help=_ANY, autocompletion=complete_recipe)],
    b: Annotated[
        str, typer.Argument(metavar="B", help="Another recipe.", autocompletion=complete_recipe)
    ],
    json: shared_options.Json = False,
    debug: shared_options.Debug = False,
) -> None:
    """Compare two recipes key by key, with bases and defaults filled in."""
    from tltool.recipe.diff import differences
    from tltool.recipe.load import load_recipe

    changed = differences(load_recipe(a), load_recipe(b))
    if json:
        rows = [{"key": each.key, "a": each.a, "b": each.b} for each in changed]
        print_json({"a": a, "b": b, "differences": rows})
    elif changed:
        cells = [[each.key, *map(_cell, (each.a, each.b))] for each in changed]
        print_table(out(), ["key", a, b], cells)
    else:
        line(out(), "the same")


@app.command("run")
@guarded
def run(
    recipe: Reference,
    data: Annotated[
        str | None,
        typer.Argument(metavar="DATA", help="Data source; by default `data.source` of the recipe."),
    ] = None,
    overrides: shared_options.Set = None,
    epochs: recipe_shorthands.Epochs = None,
    learning_rate: recipe_shorthands.LearningRate = None,
    batch_size: recipe_shorthands.BatchSize = None,
    image_size: recipe_shorthands.ImageSize = None,
    test: training.Test = None,
    out_folder: training.Out = None,
    name: training.Name = None,
    saved_models: training.SavedModels = training.EXPORTS,
    weights: training.Weights = None,
    device: training.Device = "auto",
    seed: training.Seed = None,
    tensorboard: training.TensorBoard = True,
    track: training.Track = None,
    register: training.Register = None,
    time_limit: training.TimeLimit = None,
    corrections: training.Corrections = None,
    corrections_by: training.CorrectionsBy = None,
    offline: shared_options.Offline = False,
    json: shared_options.Json = False,
    quiet: shared_options.Quiet = False,
    debug: shared_options.Debug = False,
) -> None:
    """Train with a recipe, which may name the data: the short form of `tltool finetune --recipe`.

    More options, such as --backbone, --kfold, --assert and --workers, are in tltool finetune.
    """
    from tltool.recipe.load import read_recipe
    from tltool.recipe.shorthands import Shorthands, shorthand_overrides
    from tltool.runs.run_options import RunOptions
    from tltool.workflows.preflight.recipe import source_of

    file = read_recipe(recipe)
    user_settings = training.settings_of(overrides, data=data, name=name, seed=seed)
    shorthands = Shorthands(epochs, learning_rate, batch_size, image_size)
    resolved = file.recipe(shorthand_overrides(file, user_settings, shorthands))
    training.train(
        resolved,
        RunOptions(
            data or source_of(resolved, reference=recipe),
            test=test,
            out=out_folder,
            saved_models=saved_models,
            weights=weights,
            offline=offline,
            device=device,
            tensorboard=tensorboard,
            track=tuple(track or ()),
            register=register,
            time_limit=training.seconds_of(time_limit),
            corrections=corrections,
            corrections_by=corrections_by,
        ),
        json=json,
        quiet=quiet,
        debug=debug,
    )


@app.command("schema")
@guarded
def schema(
    file: Annotated[
        Path | None, typer.Option("--output", metavar="FILE", help="Write the schema to this file.")
    ] = None,
    json: shared_options.Json = False,
    debug: shared_options.Debug = False,
) -> None:
    """Print the JSON Schema of recipes, for completion and validation in editors."""
    from tltool.recipe.json_schema import json_schema_text, write_json_schema

    if file is None:
        typer.echo(json_schema_text(), nl=False)
        return
    write_json_schema(file)
    if json:
        print_json({"file": str(file)})
    else:
        line(out(), f"wrote {file}; first line of a recipe: # yaml-language-server: $schema={file}")


app.command("sweep")(sweep)


def _cell(value: Any) -> str:
    from tltool.recipe.yaml_text import one_line

    return value if isinstance(value, str) else one_line(value)
