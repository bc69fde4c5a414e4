"""tltool explain."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from tltool.cli.terminal import options
from tltool.cli.terminal.console import err, line, out, print_json, print_table
from tltool.cli.terminal.errors import guarded
from tltool.cli.terminal.results import shown_class

if TYPE_CHECKING:
    from tltool.workflows.explain import Explained


@guarded
def explain(
    model: Annotated[
        Path,
        typer.Argument(
            metavar="MODEL", help="The folder of a run, a Keras export or a SavedModel."
        ),
    ],
    images: Annotated[
        list[str],
        typer.Argument(metavar="PHOTO", help="Images, folders, or any source that finetune takes."),
    ],
    method: Annotated[
        Literal["grad-cam", "grad-cam++", "occlusion"],
        typer.Option(
            metavar="grad-cam|grad-cam++|occlusion",
            help="How: by gradients, in a variant that finds several objects better, or by hiding "
            "parts of the image, which is slow.",
        ),
    ] = "grad-cam",
    class_name: Annotated[
        str | None,
        typer.Option(
            "--class", metavar="NAME", help="Class to explain; by default the one that wins."
        ),
    ] = None,
    folder: Annotated[
        Path,
        typer.Option(
            "--out", metavar="FOLDER", help="Folder of the pictures; nothing is replaced."
        ),
    ] = Path("explanations"),
    pixels: options.Pixels = None,
    offline: options.Offline = False,
    json: options.Json = False,
    quiet: options.Quiet = False,
    debug: options.Debug = False,
) -> None:
    """Show where in images the model finds what speaks for a class; a picture per image.

    Exit code 3 when some images could not be read; the others are explained.
    """
    from tltool.cli.terminal.progress import shown
    from tltool.workflows.preflight.arguments import check_model

    check_model(model)
    with shown(quiet=quiet, debug=debug) as display:
        from tltool.workflows.explain import explain as workflow

        found = workflow(
            model,
            images,
            out=folder,
            method=method,
            class_name=class_name,
            pixels=pixels,
            offline=offline,
            observer=display,
        )
    if json:
        print_json([_document(one) for one in found])
    else:
        asked = class_name is not None
        columns = ["photo", "class", "confidence", *(["explained", "probability"] if asked else [])]
        rows = [_cells(one, asked=asked) for one in found]
        print_table(out(), [*columns, "picture"], rows)
    bad = sum(one.error is not None for one in found)
    if bad:
        line(err(), f"{bad} of {len(found)} files could not be explained")
        raise typer.Exit(3)


def _document(one: "Explained") -> dict[str, Any]:
    return {
        "path": str(one.path),
        "ok": one.error is None,
        "error": one.error,
        "class": one.predicted or None,
        "confidence": one.confidence if one.error is None else None,
        "explained": one.explained or None,
        "probability": one.probability if one.error is None else None,
        **({} if one.is_known is None else {"is_known": one.is_known, "ood_score": one.ood_score}),
        "evidence": one.evidence,
        "picture": str(one.picture) if one.picture else None,
    }


def _cells(one: "Explained", *, asked: bool) -> list[str]:
    """Return a row; with the class explained where one was ``asked`` for."""
    more = [one.explained, f"{one.probability:.3f}"] if asked else []
    if one.error is not None:
        return [str(one.path), f"error: {one.error}", *([""] * (2 + len(more)))]
    empty = "" if one.evidence else f" (nothing speaks for {one.explained})"
    shown = shown_class(one.predicted, one.is_known)
    return [str(one.path), shown, f"{one.confidence:.3f}", *more, f"{one.picture}{empty}"]
