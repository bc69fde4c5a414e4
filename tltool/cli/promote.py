"""tltool promote."""

from pathlib import Path
from typing import Annotated

import typer

from tltool.cli.terminal import shared_options
from tltool.cli.terminal.completion import complete_model
from tltool.cli.terminal.console import line, out, print_json
from tltool.cli.terminal.error_output import guarded


@guarded
def promote(
    version: Annotated[
        Path,
        typer.Argument(
            metavar="VERSION",
            help="Version to serve, such as saved_models/NAME/2; of a folder with several versions "
            "the newest.",
            autocompletion=complete_model,
        ),
    ],
    to: Annotated[
        Path,
        typer.Option(metavar="MODEL_BASE_DIR", help="Folder of the model that is served."),
    ],
    json: shared_options.Json = False,
    debug: shared_options.Debug = False,
) -> None:
    """Serve another version, or an earlier one again: it is copied as the newest version."""
    from tltool.workflows.promote import promote as workflow

    folder = workflow(version, to)
    if json:
        print_json({"promoted": str(version), "path": str(folder)})
    else:
        line(out(), f"{version} is now {folder}; a running server switches to it within seconds")
