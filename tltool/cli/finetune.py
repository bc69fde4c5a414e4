"""tltool finetune."""

import json as jsonlib
import time
from pathlib import Path
from typing import Annotated, Literal

import typer

from tltool.cli import options
from tltool.cli.boundary import guarded
from tltool.cli.console import print_json
from tltool.cli.results import show_run


@guarded
def finetune(
    photos: Annotated[
        Path,
        typer.Argument(
            metavar="PHOTOS", help="A folder with a folder of photos per class, or train/val/test."
        ),
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
    """Train a classifier on photos and export it as a SavedModel."""
    from tltool.cli.display import shown
    from tltool.recipe.load import load_recipe
    from tltool.workflows.preflight import check_first

    started = time.perf_counter()
    shorthands = {"model.backbone": backbone, "name": name or backbone, "seed": seed}
    resolved = load_recipe(recipe, [*_settings(shorthands), *(overrides or [])])
    check_first(resolved, photos, test=test, out=out_folder, weights=weights, offline=offline)
    with shown(quiet=quiet, debug=debug) as display:
        from tltool.workflows.finetune import finetune as workflow

        result = workflow(
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
        # with the loading of TensorFlow, which the workflow does not see
        "seconds": {**result.seconds, "total": time.perf_counter() - started},
    }
    if json:
        print_json(document)
    else:
        show_run(document)


def _settings(shorthands: dict[str, str | int | None]) -> list[str]:
    """Return flags as recipe settings; as JSON, so that YAML takes a name like 007 for a text."""
    return [
        f"{key}={jsonlib.dumps(value, ensure_ascii=False)}"
        for key, value in shorthands.items()
        if value is not None
    ]
