"""tltool recipes."""

import shlex
from pathlib import Path
from typing import Annotated

import typer

from tltool.cli import options
from tltool.cli.boundary import guarded
from tltool.cli.console import fail, line, out, print_json, print_table

app = typer.Typer(
    no_args_is_help=True, rich_markup_mode=None, help="Recipes: list, show, copy, validate."
)
Reference = Annotated[str, typer.Argument(metavar="RECIPE", help="A shipped recipe or a file.")]


@app.command("list")
@guarded
def list_recipes(json: options.Json = False, debug: options.Debug = False) -> None:
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
        bool, typer.Option("--resolved", help="With every key, bases and defaults filled in.")
    ] = False,
    overrides: options.Set = None,
    json: options.Json = False,
    debug: options.Debug = False,
) -> None:
    """Print a recipe."""
    from tltool.recipe import library
    from tltool.recipe.load import load_recipe, to_yaml

    if json:
        print_json(load_recipe(recipe, overrides or []).model_dump(mode="json"))
    elif resolved or overrides:
        typer.echo(to_yaml(load_recipe(recipe, overrides or [])), nl=False)
    else:
        typer.echo(library.find(recipe).read_text(encoding="utf-8"), nl=False)


@app.command("copy")
@guarded
def copy(
    recipe: Reference,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Where to; must not exist.")],
    json: options.Json = False,
    debug: options.Debug = False,
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
    files: Annotated[list[str], typer.Argument(metavar="RECIPE", help="Shipped recipes or files.")],
    json: options.Json = False,
    debug: options.Debug = False,
) -> None:
    """Check recipes; every mistake of each is listed."""
    from tltool.workflows.recipes import check_recipes

    problems = check_recipes(files)
    if json:
        print_json([{"recipe": name, "problem": problem} for name, problem in problems])
    for name, problem in problems:
        if problem is not None:
            fail(problem)
        elif not json:
            line(out(), f"{name}: valid")
    if any(problem for _, problem in problems):
        raise typer.Exit(2)
