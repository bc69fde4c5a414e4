"""tltool samples."""

from pathlib import Path
from typing import Annotated

import typer

from tltool.cli import options
from tltool.cli.boundary import guarded
from tltool.cli.commands import Commands
from tltool.cli.console import line, out, print_json
from tltool.cli.results import show_next

app = Commands(help="Real images to try things on.")


@app.callback()
def samples() -> None:
    """Real images to try things on."""


@app.command("digits")
@guarded
def digits(
    out_folder: Annotated[
        Path, typer.Option("--out", metavar="FOLDER", help="Folder to write to, absent or empty.")
    ],
    json: options.Json = False,
    debug: options.Debug = False,
) -> None:
    """Write scikit-learn's 1797 handwritten digits as one folder of PNG files per digit."""
    from tltool.workflows.samples import write_digits

    count = write_digits(out_folder)
    if json:
        print_json({"folder": str(out_folder), "images": count, "classes": 10})
        return
    line(out(), f"wrote {count:,} images of 10 classes to {out_folder}")
    show_next(["tltool", "finetune", str(out_folder)])
