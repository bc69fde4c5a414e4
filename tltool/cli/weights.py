"""tltool weights."""

from pathlib import Path
from typing import Annotated

import typer

from tltool.cli.terminal import options
from tltool.cli.terminal.console import line, out, print_json, print_table
from tltool.cli.terminal.errors import guarded
from tltool.cli.terminal.typer_app import Commands

app = Commands(help="Pretrained weights: list, pull, import.")


@app.command("list")
@guarded
def list_weights(json: options.Json = False, debug: options.Debug = False) -> None:
    """List the pretrained weights, which are stored, and where."""
    from tltool.workflows.weights import weights_folder, weights_table

    rows = weights_table()
    if json:
        print_json({"folder": str(weights_folder()), "weights": rows})
        return
    cells = [
        [
            row["name"],
            "stored" if row["stored"] else "not stored",
            f"{row['megabytes']:.0f}" if row["megabytes"] else "",
            row["licence"],
            (row["source"] or "").partition(" (sha256")[0],  # complete with --json
        ]
        for row in rows
    ]
    columns = ["name", "weights", "MB", "licence", "source"]
    print_table(out(), columns, cells, title=f"Weights in {weights_folder()}")


@app.command("pull")
@guarded
def pull(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Backbone, such as vgg16.")],
    offline: options.Offline = False,
    json: options.Json = False,
    quiet: options.Quiet = False,
    debug: options.Debug = False,
) -> None:
    """Fetch pretrained weights, check them and store them."""
    from tltool.cli.terminal.progress import Display
    from tltool.workflows.weights import pull_weights

    with Display(quiet=quiet) as display:
        display.on_phase("weights", name)
        row = pull_weights(name, offline=offline, observer=display)
    _print_row(row, json=json)


@app.command("import")
@guarded
def import_weights(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Backbone, such as resnet50.")],
    file: Annotated[
        Path,
        typer.Argument(metavar="FILE", help="Keras .h5/.keras, ONNX or safetensors file."),
    ],
    json: options.Json = False,
    debug: options.Debug = False,
) -> None:
    """Store a weights file that was downloaded by hand."""
    from tltool.workflows.weights import import_weights as take

    _print_row(take(name, file), json=json)


def _print_row(row: dict[str, object], *, json: bool) -> None:
    if json:
        print_json(row)
        return
    for key in ("name", "path", "sha256", "source", "licence"):
        line(out(), (f"{key:<9}", "dim"), str(row[key]))
