"""tltool samples."""

from pathlib import Path
from typing import Annotated

import typer

from tltool.cli.terminal import options
from tltool.cli.terminal.console import line, out, print_json
from tltool.cli.terminal.errors import guarded
from tltool.cli.terminal.results import show_next
from tltool.cli.terminal.typer_app import Commands
from tltool.errors import UsageError

app = Commands(help="Write sample images.")


@app.callback()
def samples() -> None:
    """Write sample images."""


@app.command("digits")
@guarded
def digits(
    folder: Annotated[
        Path | None,
        typer.Option(
            "--out",
            metavar="FOLDER",
            help="Write PNG files to this empty or new folder, a folder per digit.",
        ),
    ] = None,
    table: Annotated[
        Path | None,
        typer.Option("--output", metavar="FILE.csv", help="Write a table of pixels instead."),
    ] = None,
    json: options.Json = False,
    debug: options.Debug = False,
) -> None:
    """Write scikit-learn's 1797 handwritten digits: a folder of PNG files per digit, or a CSV."""
    from tltool.workflows.samples import write_digits, write_digits_csv

    if folder is not None and table is None:
        written, count, recipe = folder, write_digits(folder), []
    elif table is not None and folder is None:
        written, count = table, write_digits_csv(table)
        recipe = ["--recipe", "digit_recognizer"]
    else:
        raise UsageError(
            "give either --out or --output",
            hint="--out FOLDER writes PNG files, --output FILE.csv a table of pixels",
        )
    if json:
        name = "folder" if folder else "file"
        print_json({name: str(written), "images": count, "classes": 10})
        return
    line(out(), f"wrote {count:,} images of 10 classes to {written}")
    show_next(["tltool", "finetune", str(written), *recipe])
