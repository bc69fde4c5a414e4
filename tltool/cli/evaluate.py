"""tltool evaluate."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from tltool.cli import options
from tltool.cli.console import guarded, print_json
from tltool.cli.display import Display
from tltool.cli.finetune import show_metrics
from tltool.cli.native_logs import silence_native_logs


@guarded
def evaluate(
    model: options.Model,
    photos: Annotated[Path, typer.Argument(help="A folder with one folder of photos per class.")],
    split: Annotated[
        Literal["train", "validation", "test"] | None,
        typer.Option(help="Only the photos that the run put into this part."),
    ] = None,
    json: options.Json = False,
    quiet: options.Quiet = False,
    debug: options.Debug = False,
) -> None:
    """Measure a model on labelled photos; classes are matched by name."""
    if not debug:
        silence_native_logs()
    with Display(quiet=quiet) as display:
        display.on_phase("start", "loading TensorFlow")
        from tltool.workflows import evaluate as workflow

        metrics = workflow.evaluate(model, photos, split=split, observer=display)
    if json:
        print_json(metrics)
    else:
        show_metrics(metrics)
