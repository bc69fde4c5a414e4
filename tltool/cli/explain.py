"""tltool explain."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from tltool.cli.terminal import shared_options
from tltool.cli.terminal.completion import complete_model
from tltool.cli.terminal.console import err, line, print_json, print_table
from tltool.cli.terminal.console import out as stdout
from tltool.cli.terminal.error_output import guarded
from tltool.cli.terminal.results import shown_class

if TYPE_CHECKING:
    from tltool.workflows.explain import ImageExplanation


@guarded
def explain(
    model: Annotated[
        Path,
        typer.Argument(
            metavar="MODEL",
            help="Folder of a run, of a Keras export or of a SavedModel.",
            autocompletion=complete_model,
        ),
    ],
    images: Annotated[
        list[str],
        typer.Argument(metavar="IMAGE", help="Images, folders, or any data source of finetune."),
    ],
    method: Annotated[
        Literal["grad-cam", "grad-cam++", "occlusion"],
        typer.Option(
            metavar="grad-cam|grad-cam++|occlusion",
            help="grad-cam and grad-cam++ use gradients (grad-cam++ is better with several "
            "objects); occlusion hides parts of the image, which is slow.",
        ),
    ] = "grad-cam",
    class_name: Annotated[
        str | None,
        typer.Option(
            "--class", metavar="NAME", help="Class to explain; by default the predicted class."
        ),
    ] = None,
    out: Annotated[
        Path,
        typer.Option(
            metavar="FOLDER", help="Folder for the pictures; existing files are not replaced."
        ),
    ] = Path("explanations"),
    pixels: shared_options.Pixels = None,
    trust: shared_options.TrustModel = False,
    offline: shared_options.Offline = False,
    json: shared_options.Json = False,
    quiet: shared_options.Quiet = False,
    debug: shared_options.Debug = False,
) -> None:
    """Explain predictions with heat maps of the evidence for a class; one picture per image.

    Exit code 3 if some images could not be read; the others are explained.
    """
    from tltool.cli.terminal.progress import shown
    from tltool.workflows.preflight.arguments import check_output_folder
    from tltool.workflows.preflight.model_arguments import check_explainable, check_inputs

    check_explainable(model, class_name=class_name, images=images)
    check_inputs(images)
    check_output_folder(out)
    with shown(quiet=quiet, debug=debug) as observer:
        from tltool.workflows.explain import explain as workflow

        explanations = workflow(
            model,
            images,
            out=out,
            method=method,
            class_name=class_name,
            pixels=pixels,
            trust=trust,
            offline=offline,
            observer=observer,
        )
    if json:
        print_json([_document(one) for one in explanations])
    else:
        _print_table(explanations, with_class=class_name is not None)
    failed = sum(one.error is not None for one in explanations)
    if failed:
        line(err(), f"{failed} of {len(explanations)} images could not be explained")
        raise typer.Exit(3)


def _print_table(explanations: "list[ImageExplanation]", *, with_class: bool) -> None:
    """Print one row per image; with the explained class if the user has given one."""
    columns = ["image", "class", "confidence"]
    columns += ["explained", "probability"] if with_class else []
    rows = [_cells(one, with_class=with_class) for one in explanations]
    print_table(stdout(), [*columns, "picture"], rows)


def _document(one: "ImageExplanation") -> dict[str, Any]:
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


def _cells(one: "ImageExplanation", *, with_class: bool) -> list[str]:
    more = [one.explained, f"{one.probability:.3f}"] if with_class else []
    if one.error is not None:
        return [str(one.path), f"error: {one.error}", *([""] * (2 + len(more)))]
    empty = "" if one.evidence else f" (no evidence for {one.explained})"
    shown = shown_class(one.predicted, one.is_known)
    return [str(one.path), shown, f"{one.confidence:.3f}", *more, f"{one.picture}{empty}"]
