"""tltool weights."""

from pathlib import Path
from typing import Annotated

import typer

from tltool.cli.terminal import shared_options
from tltool.cli.terminal.completion import complete_backbone
from tltool.cli.terminal.console import line, out, print_json, print_table
from tltool.cli.terminal.error_output import guarded
from tltool.cli.terminal.typer_app import Commands

app = Commands(help="Pretrained weights: list, pull, import.")


@app.command("list")
@guarded
def list_weights(json: shared_options.Json = False, debug: shared_options.Debug = False) -> None:
    """List the pretrained weights, and where those on this machine are stored."""
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
    name: Annotated[
        str,
        typer.Argument(
            metavar="NAME", help="Backbone, such as vgg16.", autocompletion=complete_backbone
        ),
    ],
    offline: shared_options.Offline = False,
    json: shared_options.Json = False,
    quiet: shared_options.Quiet = False,
    debug: shared_options.Debug = False,
) -> None:
    """Download pretrained weights, verify them and store them."""
    from tltool.cli.terminal.progress import Display
    from tltool.workflows.weights import pull_weights

    with Display(quiet=quiet) as display:
        display.on_phase("weights", name)
        row = pull_weights(name, offline=offline, observer=display)
    _print_row(row, json=json)


@app.command("import")
@guarded
def import_weights(
    name: Annotated[
        str,
        typer.Argument(
            metavar="NAME", help="Backbone, such as resnet50.", autocompletion=complete_backbone
        ),
    ],
    file: Annotated[
        Path,
        typer.Argument(
            metavar="FILE",
            help="File in the format Keras .h5 or .keras, ONNX, safetensors or PyTorch (.pth).",
        ),
    ],
    json: shared_options.Json = False,
    debug: shared_options.Debug = False,
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
