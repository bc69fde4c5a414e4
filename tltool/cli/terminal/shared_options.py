"""Options that several commands share, each with one wording."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from tltool.cli.terminal.completion import complete_model, complete_recipe, complete_setting
from tltool.cli.terminal.typer_app import GENERAL

RECIPE = "Recipe"
MACHINES = "Machines"
DATA = "Images"
OUTPUT = "Output"
RESULT = "Conditions on the result"
"""Titles of groups of options in the help, as GENERAL."""

Json = Annotated[
    bool,
    typer.Option(
        "--json",
        help="Print one JSON document on stdout, messages on stderr.",
        rich_help_panel=GENERAL,
    ),
]
Quiet = Annotated[
    bool,
    typer.Option(
        "--quiet", "-q", help="Print the result and nothing else.", rich_help_panel=GENERAL
    ),
]
Debug = Annotated[
    bool,
    typer.Option(
        "--debug",
        help="Show TensorFlow's log, and the traceback of an error.",
        rich_help_panel=GENERAL,
    ),
]
Offline = Annotated[
    bool, typer.Option("--offline", help="Open no network connection.", rich_help_panel=GENERAL)
]
RecipeName = Annotated[
    str,
    typer.Option(
        "--recipe",
        "-r",
        metavar="NAME|FILE",
        help="Name of a shipped recipe, a recipe file, or the folder of a run.",
        autocompletion=complete_recipe,
        rich_help_panel=RECIPE,
    ),
]
Set = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        help="Set a key of the recipe; may be repeated.",
        autocompletion=complete_setting,
        rich_help_panel=RECIPE,
    ),
]
TrustModel = Annotated[
    bool,
    typer.Option(
        "--trust",
        help="Load the model although its files have changed, or its graph has operations that "
        "may read and write files. Only for a model that you made yourself.",
    ),
]
Tta = Annotated[
    Literal["none", "flips", "crops"],
    typer.Option(
        metavar="none|flips|crops",
        help="Test-time augmentation: average the prediction over the image and its mirror image "
        "(twice the time), or over the image and five crops (six times).",
    ),
]
OodImages = Annotated[
    str | None,
    typer.Option(
        metavar="NAME", help="A folder of out-of-distribution images next to the class folders."
    ),
]
Pixels = Annotated[
    str | None,
    typer.Option(
        metavar="HxW[x3]", help="Shape of the images in a table of pixels; by default square."
    ),
]
Report = Annotated[
    Path | None,
    typer.Option(metavar="FILE.html", help="Write an HTML report; the file must not exist."),
]
Model = Annotated[
    Path,
    typer.Argument(
        metavar="MODEL",
        help="Folder of a run or of an exported model.",
        autocompletion=complete_model,
    ),
]
