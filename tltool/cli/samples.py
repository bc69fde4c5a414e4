"""tltool samples."""

from pathlib import Path
from typing import Annotated

import typer

from tltool.cli import options
from tltool.cli.console import guarded, out

app = typer.Typer(no_args_is_help=True, help="Real images to try things on.")


@app.callback()
def samples() -> None:
    """Real images to try things on."""


@app.command("digits")
@guarded
def digits(
    out_folder: Annotated[Path, typer.Option("--out", help="Folder to write to, absent or empty.")],
    debug: options.Debug = False,
) -> None:
    """Write scikit-learn's 1797 handwritten digits as one folder of PNG files per digit."""
    from tltool.workflows.samples import write_digits

    count = write_digits(out_folder)
    out().print(f"wrote {count:,} images of 10 classes to {out_folder}")
    out().print(f"next: tltool finetune {out_folder}")
