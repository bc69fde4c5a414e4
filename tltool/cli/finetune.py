"""tltool finetune."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from tltool.cli import options
from tltool.cli.console import ACCENT, guarded, out, print_json, print_table
from tltool.cli.display import Display
from tltool.cli.native_logs import silence_native_logs


@guarded
def finetune(
    photos: Annotated[
        Path, typer.Argument(help="A folder with a folder of photos per class, or train/val/test.")
    ],
    recipe: options.RecipeName = "vgg16",
    backbone: Annotated[
        str | None, typer.Option(help="Backbone; `tltool backbones` lists them.")
    ] = None,
    overrides: options.Set = None,
    test: Annotated[
        Path | None, typer.Option(help="A separate test folder, opened only at the end.")
    ] = None,
    out_folder: Annotated[
        Path | None,
        typer.Option("--out", help="The run folder, absent or empty; by default runs/NAME-UTC."),
    ] = None,
    name: Annotated[
        str | None, typer.Option(help="Name of the run and of the exported model.")
    ] = None,
    saved_models: Annotated[
        Path, typer.Option("--export-to", help="Folder that gets NAME/VERSION/.")
    ] = Path("saved_models"),
    weights: Annotated[
        Path | None, typer.Option(help="A file of pretrained weights for the backbone.")
    ] = None,
    device: Annotated[Literal["auto", "cpu", "gpu"], typer.Option(help="Where to train.")] = "auto",
    seed: Annotated[int | None, typer.Option(help="Seed of everything random.")] = None,
    offline: options.Offline = False,
    json: options.Json = False,
    quiet: options.Quiet = False,
    debug: options.Debug = False,
) -> None:
    """Train a classifier on a folder of photos and export it as a SavedModel."""
    from tltool.recipe.load import load_recipe
    from tltool.workflows.recipes import check_names

    shorthands = {"model.backbone": backbone, "name": name or backbone, "seed": seed}
    given = [f"{key}={value}" for key, value in shorthands.items() if value is not None]
    resolved = load_recipe(recipe, [*given, *(overrides or [])])
    check_names(resolved)  # a typo costs no loading of TensorFlow
    if not debug:
        silence_native_logs()
    with Display(quiet=quiet) as display:
        display.on_phase("start", "loading TensorFlow")
        from tltool.workflows import finetune as workflow

        result = workflow.finetune(
            photos,
            recipe=resolved,
            test=test,
            out=out_folder,
            saved_models=saved_models,
            weights=weights,
            offline=offline,
            device=device,
            observer=display,
        )
    document = {
        "run": str(result.run),
        "export": str(result.export) if result.export else None,
        "metrics": result.metrics,
        "seconds": result.seconds,
    }
    if json:
        print_json(document)
    else:
        show_result(document)


def show_result(document: Mapping[str, Any]) -> None:
    """Print accuracy, the table of classes, and what to type next."""
    console = out()
    show_metrics(document["metrics"])
    run, export = document["run"], document["export"]
    console.print(f"\nrun     [bold]{run}[/]")
    if export:
        console.print(f"model   [bold]{export}[/]")
    console.print(f"time    {document['seconds']['total']:.0f} s")
    console.print("\nnext:")
    model = str(Path(export).parent) if export else run
    for command in (f"tltool predict {model} PHOTO.jpg", f"tltool evaluate {run} FOLDER"):
        console.print(f"  [{ACCENT}]{command}[/]")


def show_metrics(metrics: Mapping[str, Any]) -> None:
    """Print the figures of an evaluation."""
    from tltool.evaluation.tables import PER_CLASS_COLUMNS, per_class_rows

    console = out()
    rate = metrics["accuracy"]
    console.print(
        f"\n[bold]accuracy {rate['value']:.3f}[/]  (95 % interval {rate['low']:.3f} to "
        f"{rate['high']:.3f}, n = {metrics['n']}, {metrics['evaluated_on']})"
    )
    console.print(f"log-loss {metrics['log_loss']:.3f}\n")
    if metrics["evaluated_on"] == "validation" and "best" in metrics:
        console.print(
            "[dim]These photos also chose the best epoch, so the figures are a little optimistic;\n"
            "--test FOLDER or --set data.test_fraction=0.2 keeps photos apart for an honest "
            "one.[/]\n"
        )
    print_table(console, "", PER_CLASS_COLUMNS, per_class_rows(metrics))
