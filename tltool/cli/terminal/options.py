"""Options that several verbs share, each with one wording."""

from pathlib import Path
from typing import Annotated, Literal

import typer

Json = Annotated[
    bool, typer.Option("--json", help="Print one JSON document on stdout, messages on stderr.")
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print the result and nothing else.")]
Debug = Annotated[
    bool, typer.Option("--debug", help="Show TensorFlow's log, and the traceback of an error.")
]
Offline = Annotated[bool, typer.Option("--offline", help="Open no network connection.")]
RecipeName = Annotated[
    str,
    typer.Option(
        "--recipe",
        "-r",
        metavar="NAME|FILE",
        help="A shipped recipe, a file, or the folder of a run.",
    ),
]
Set = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Set a key of the recipe; may be repeated."),
]
Tta = Annotated[
    Literal["none", "flips", "crops"],
    typer.Option(
        metavar="none|flips|crops",
        help="Average over changed copies of each image: its mirror image (twice the time) or "
        "five crops (six times).",
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
Model = Annotated[
    Path, typer.Argument(metavar="MODEL", help="The folder of a run, or of an exported model.")
]
