"""tltool evaluate."""

from typing import Annotated, Literal

import typer

from tltool.cli import options
from tltool.cli.boundary import guarded
from tltool.cli.console import print_json
from tltool.cli.results import show_metrics


@guarded
def evaluate(
    model: options.Model,
    photos: Annotated[
        str,
        typer.Argument(metavar="PHOTOS", help="Labelled photos: any source that finetune takes."),
    ],
    split: Annotated[
        Literal["train", "validation", "test"] | None,
        typer.Option(
            metavar="train|validation|test", help="Only the photos that the run put into this part."
        ),
    ] = None,
    pixels: options.Pixels = None,
    offline: options.Offline = False,
    json: options.Json = False,
    quiet: options.Quiet = False,
    debug: options.Debug = False,
) -> None:
    """Measure a model on labelled photos; classes match by name."""
    from tltool.cli.display import shown

    with shown(quiet=quiet, debug=debug) as display:
        from tltool.workflows.evaluate import evaluate as workflow

        metrics = workflow(
            model, photos, split=split, pixels=pixels, offline=offline, observer=display
        )
    if json:
        print_json(metrics)
    else:
        show_metrics(metrics)
