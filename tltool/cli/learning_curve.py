"""tltool learning-curve."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tltool.cli.terminal import shared_options
from tltool.cli.terminal.completion import complete_backbone
from tltool.cli.terminal.console import line, out, print_json, print_table
from tltool.cli.terminal.error_output import guarded
from tltool.cli.terminal.results import show_fields

if TYPE_CHECKING:
    from tltool.workflows.learning_curve import BackboneCurve


@guarded
def learning_curve(
    data: Annotated[
        str,
        typer.Argument(metavar="DATA", help="Labelled images, any data source of finetune."),
    ],
    backbone: Annotated[
        str,
        typer.Option(
            metavar="NAME|FILE", help="A pretrained backbone.", autocompletion=complete_backbone
        ),
    ] = "vgg16",
    image_size: Annotated[
        int | None,
        typer.Option(
            min=16,
            max=2048,
            metavar="PIXELS",
            help="Side of the input image; by default that of the backbone.",
        ),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(metavar="FILE.png", help="Also draw the curve; the file must not exist."),
    ] = None,
    seed: Annotated[
        int, typer.Option(min=0, metavar="N", help="Of the folds and of the training sets.")
    ] = 0,
    offline: shared_options.Offline = False,
    json: shared_options.Json = False,
    quiet: shared_options.Quiet = False,
    debug: shared_options.Debug = False,
) -> None:
    """Say what more labelled images would bring: probe accuracy at 10 to 100 % of the images."""
    from tltool.cli.terminal.progress import shown
    from tltool.workflows.preflight.arguments import check_picture
    from tltool.workflows.preflight.run import check_backbones

    if output is not None:
        check_picture(output, option="--output")
    check_backbones([backbone], data, side=image_size)
    with shown(quiet=quiet, debug=debug) as display:
        from tltool.workflows.learning_curve import learning_curve as workflow

        result = workflow(
            data,
            backbone=backbone,
            image_size=image_size,
            output=output,
            seed=seed,
            offline=offline,
            observer=display,
        )
    if json:
        print_json({**result.to_json(), "output": str(output) if output else None})
    else:
        _show(result, output)


def _show(result: "BackboneCurve", output: Path | None) -> None:
    from tltool.evaluation.report.learning_curve_text import describe_gain

    console, curve = out(), result.curve
    rows = [
        [
            f"{point.images:,}",
            f"{point.accuracy:.3f}",
            f"{point.low:.3f} … {point.high:.3f}",
        ]
        for point in curve.points
    ]
    line(console)
    columns = ["training images", "accuracy", "95 % CI"]
    title = f"Linear probe on {result.backbone}, cross-validated, n = {curve.n:,}"
    print_table(console, columns, rows, title=title)
    line(console)
    line(console, (describe_gain(curve.to_json()), "bold"))
    if output is not None:
        show_fields({"plot": output})
