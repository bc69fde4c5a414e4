"""tltool samples."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from tltool.cli.terminal import options
from tltool.cli.terminal.console import line, out, print_json
from tltool.cli.terminal.errors import guarded
from tltool.cli.terminal.results import show_next
from tltool.cli.terminal.typer_app import Commands

app = Commands(help="Real images to try things on.")


@app.callback()
def samples() -> None:
    """Real images to try things on."""


@app.command("digits")
@guarded
def digits(
    to: Annotated[
        Path,
        typer.Option(
            "--out", metavar="PATH", help="Folder to write to, absent or empty; for csv a new file."
        ),
    ],
    form: Annotated[
        Literal["folder", "csv"],
        typer.Option(
            "--format",
            metavar="folder|csv",
            help="A folder of PNG files per digit, or a table of pixels.",
        ),
    ] = "folder",
    json: options.Json = False,
    debug: options.Debug = False,
) -> None:
    """Write scikit-learn's 1797 handwritten digits: a folder of PNG files per digit, or a CSV."""
    from tltool.workflows.samples import write_digits, write_digits_csv

    count = write_digits(to) if form == "folder" else write_digits_csv(to)
    if json:
        print_json({form if form == "folder" else "file": str(to), "images": count, "classes": 10})
        return
    line(out(), f"wrote {count:,} images of 10 classes to {to}")
    recipe = [] if form == "folder" else ["--recipe", "digit_recognizer"]
    show_next(["tltool", "finetune", str(to), *recipe])
