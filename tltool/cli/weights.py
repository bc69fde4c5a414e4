"""tltool weights."""

from pathlib import Path
from typing import Annotated

import typer

from tltool.cli import options
from tltool.cli.console import guarded, out, print_json, print_table
from tltool.cli.display import Display
from tltool.cli.native_logs import silence_native_logs

app = typer.Typer(no_args_is_help=True, help="Pretrained weights: list, pull, import.")


@app.command("list")
@guarded
def list_weights(json: options.Json = False, debug: options.Debug = False) -> None:
    """Show which pretrained weights are at hand, and where."""
    from tltool.workflows.weights import weights_folder, weights_table

    rows = weights_table()
    if json:
        print_json({"folder": str(weights_folder()), "weights": rows})
        return
    cells = [
        [
            row["name"],
            "at hand" if row["at_hand"] else "not here",
            f"{row['megabytes']:.0f}" if row["megabytes"] else "",
            row["licence"],
            row["source"] or "",
        ]
        for row in rows
    ]
    columns = ["name", "weights", "MB", "licence", "source"]
    print_table(out(), f"Weights in {weights_folder()}", columns, cells)


@app.command("pull")
@guarded
def pull(
    name: Annotated[str, typer.Argument(help="Backbone, such as vgg16.")],
    offline: options.Offline = False,
    json: options.Json = False,
    quiet: options.Quiet = False,
    debug: options.Debug = False,
) -> None:
    """Fetch pretrained weights into the store, checked."""
    from tltool.workflows.weights import pull_weights

    with Display(quiet=quiet) as display:
        display.on_phase("weights", name)
        row = pull_weights(name, offline=offline, observer=display)
    _tell(row, json=json)


@app.command("import")
@guarded
def import_weights(
    name: Annotated[str, typer.Argument(help="Backbone, such as resnet50.")],
    file: Annotated[Path, typer.Argument(help="Keras .h5/.keras, ONNX or safetensors file.")],
    json: options.Json = False,
    debug: options.Debug = False,
) -> None:
    """Take a weights file, fetched elsewhere, into the store."""
    if not debug:
        silence_native_logs()
    from tltool.workflows.weights import import_weights as take

    _tell(take(name, file), json=json)


def _tell(row: dict[str, object], *, json: bool) -> None:
    if json:
        print_json(row)
        return
    for key in ("name", "path", "sha256", "source", "licence"):
        out().print(f"{key:<8}{row[key]}", soft_wrap=True)
