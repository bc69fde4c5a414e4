"""tltool backbones list and show."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tltool.cli.terminal import shared_options
from tltool.cli.terminal.completion import complete_backbone
from tltool.cli.terminal.console import line, out, print_json, print_table
from tltool.cli.terminal.error_output import guarded
from tltool.cli.terminal.typer_app import Commands
from tltool.models.backbone import PreprocessMode

if TYPE_CHECKING:
    from tltool.models.layer_folds import Fold
    from tltool.workflows.backbones import BackboneLayers

app = Commands(help="Backbones: list, show.")
_EXACT_UP_TO = 100_000_000  # multiply-adds; larger numbers are in millions, to fit 80 columns


@app.command("list")
@guarded
def list_backbones(json: shared_options.Json = False, debug: shared_options.Debug = False) -> None:
    """List the backbones: parameters, multiply-adds, input size, weights, licence."""
    from tltool.workflows.backbones import backbone_rows

    rows = backbone_rows()
    if json:
        print_json(rows)
        return
    columns = ["name", "parameters", "mult-adds", "input", "weights", "licence"]
    print_table(out(), columns, list(_listed(rows)))
    line(out())
    line(
        out(),
        "parameters: without the classifier, which `tltool backbones show NAME` includes; "
        "mult-adds: multiply-adds for one image of its own size, input: side in pixels.",
    )


def _listed(rows: Sequence[dict[str, Any]]) -> Iterator[list[str]]:
    """Yield the cells of each row, and an empty row between two families."""
    family = rows[0]["family"]
    for row in rows:
        if row["family"] != family:
            family = row["family"]
            yield [""] * 6
        yield [
            row["name"],
            _millions(row["parameters"]),
            _rounded_work(row["multiply_adds"]),
            f"{row['image_size']}",
            _weights(row),
            row["licence"],
        ]


@app.command("show")
@guarded
def show(
    name: Annotated[
        str,
        typer.Argument(
            metavar="NAME|FILE",
            help="Name of the backbone, such as vgg16; or a Keras model without its head, as for "
            "--backbone.",
            autocompletion=complete_backbone,
        ),
    ],
    image_size: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=4096,
            metavar="PIXELS",
            help="Side of the input image; by default that of the backbone.",
        ),
    ] = None,
    all_layers: Annotated[
        bool, typer.Option("--all", help="Show every layer on its own line.")
    ] = False,
    preprocessing: Annotated[
        PreprocessMode | None,
        typer.Option(
            metavar="caffe|tf|tf128|torch|lite|unit|grey|none",
            help="What the model of a FILE expects, if it does not scale its input.",
        ),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(metavar="FILE.png", help="Also draw a diagram; the file must not exist."),
    ] = None,
    json: shared_options.Json = False,
    debug: shared_options.Debug = False,
) -> None:
    """Show the layers of a backbone: shapes, kernels, receptive fields, parameters, multiply-adds.

    The classifier of the backbone's paper is included as head; a model of your own has none. The
    stages are those that train.finetune.unfreeze can name.
    """
    from tltool.cli.terminal.progress import shown
    from tltool.workflows.backbones import check_layers

    check_layers(name, image_size, preprocessing, output)
    with shown(quiet=True, debug=debug):
        from tltool.workflows.backbones import backbone_layers, draw_layers

        layers = backbone_layers(name, image_size, preprocessing)
        if output is not None:
            draw_layers(output, layers)
    if json:
        print_json({**layers.to_json(), "output": str(output) if output else None})
        return
    _print_layers(layers, every=all_layers)
    if output is not None:
        line(out(), f"wrote {output}")


def _print_layers(layers: "BackboneLayers", *, every: bool) -> None:
    backbone, totals = layers.backbone, layers.totals()
    grey = ", grey" if layers.channels == 1 else ""
    line(out(), (backbone.name, "bold"), f"  {backbone.paper}")
    classes = "no head" if backbone.file else f"{backbone.head.classes} classes"
    line(out(), f"image {layers.size}x{layers.size}{grey}; {classes}")
    line(out())
    exact = totals["total"]["multiply_adds"] <= _EXACT_UP_TO
    rows = _every_row(layers, exact=exact) if every else _rows(layers.folds, exact=exact)
    rows.append([""] * 6)
    for part in ("backbone",) if backbone.file else ("backbone", "head", "total"):
        numbers = totals[part]
        work = _work(numbers["multiply_adds"], exact=exact)
        rows.append([part, "", "", "", f"{numbers['parameters']:,}", work])
    work = "mult-adds" if exact else "mult-adds/M"
    columns = ["layer", "output", "kernel/stride", "field", "parameters", work]
    print_table(out(), columns, rows)
    line(out())
    stages = ", ".join(stage.name for stage in backbone.stages)
    line(out(), f"stages: {stages}")
    line(
        out(),
        "field: side of the receptive field in pixels. mult-adds: multiply-adds of convolutions "
        "and dense layers for one image. A block includes its shortcut.",
    )


def _rows(folds: "Sequence[Fold]", *, exact: bool) -> list[list[str]]:
    return [
        [
            fold.label,
            _shape(fold.output),
            fold.windows,
            str(fold.receptive_field) if len(fold.output) > 1 else "",
            f"{fold.parameters:,}" if fold.parameters else "",
            _work(fold.multiply_adds, exact=exact) if fold.multiply_adds else "",
        ]
        for fold in folds
    ]


def _every_row(layers: "BackboneLayers", *, exact: bool) -> list[list[str]]:
    from tltool.models.layer_folds import window_text

    return [
        [
            row.name,
            _shape(row.output),
            window_text(row),
            str(row.receptive_field) if len(row.output) > 1 else "",
            f"{row.parameters:,}" if row.parameters else "",
            _work(row.multiply_adds, exact=exact) if row.multiply_adds else "",
        ]
        for row in layers.rows
    ]


def _shape(output: tuple[int, ...]) -> str:
    return "x".join(str(side) for side in output)


def _work(number: int, *, exact: bool) -> str:
    return f"{number:,}" if exact else f"{number / 1e6:,.1f}"


def _millions(number: int) -> str:
    return f"{number / 1e6:.1f} M" if number >= 100_000 else f"{number:,}"


def _rounded_work(number: int) -> str:
    if number >= 10_000_000:
        return f"{number / 1e9:.2f} G"
    return _millions(number)


def _weights(row: dict[str, Any]) -> str:
    if not row["licence"]:
        return "none"
    return "stored" if row["weights_stored"] else "not stored"
