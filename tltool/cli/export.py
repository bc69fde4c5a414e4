"""tltool export."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tltool.cli.terminal import options
from tltool.cli.terminal.console import line, out, print_json, print_table
from tltool.cli.terminal.errors import guarded

if TYPE_CHECKING:
    from tltool.workflows.export import ExportResult


@guarded
def export(
    run: Annotated[
        Path | None,
        typer.Argument(
            metavar="RUN|MODEL", help="The folder of a finished run, or the model.keras in it."
        ),
    ] = None,
    formats: Annotated[
        str,
        typer.Option(
            "--format",
            "-f",
            metavar="NAME,…",
            help="saved_model, litert, litert-fp16, litert-int8, onnx, keras.",
        ),
    ] = "saved_model",
    folder: Annotated[
        Path,
        typer.Option(
            "--out",
            metavar="FOLDER",
            help="Folder that gets NAME/VERSION/, or NAME-FORMAT/VERSION/.",
        ),
    ] = Path("saved_models"),
    version: Annotated[
        str, typer.Option(metavar="NUMBER|auto", help="The version; auto is the next one.")
    ] = "auto",
    max_drop: Annotated[
        float,
        typer.Option(
            min=0, max=1, metavar="RATE", help="Largest drop of the validation accuracy allowed."
        ),
    ] = 0.01,
    prune: Annotated[
        int | None, typer.Option(min=1, metavar="K", help="Keep the newest K versions only.")
    ] = None,
    data: Annotated[
        str | None,
        typer.Option(metavar="SOURCE", help="Where the run's images are now, or others like them."),
    ] = None,
    check: Annotated[
        Path | None,
        typer.Option(metavar="EXPORT", help="Export nothing; prove this export once more."),
    ] = None,
    json: options.Json = False,
    quiet: options.Quiet = False,
    debug: options.Debug = False,
) -> None:
    """Export a run to other formats, each proved to answer like the trained model."""
    from tltool.errors import UsageError
    from tltool.export.export_formats import chosen_formats

    if (run is None) == (check is None):
        raise UsageError(
            "give the folder of a run to export, or an export to --check, and not both",
            hint="tltool export runs/NAME --format onnx",
        )
    chosen_formats(formats)  # a typing mistake is told before TensorFlow loads
    if check is not None:
        _check(check, json=json, quiet=quiet, debug=debug)
        return
    number = _number(version)
    from tltool.cli.terminal.progress import shown

    with shown(quiet=quiet, debug=debug) as display:
        from tltool.workflows.export import export as workflow

        result = workflow(
            run or Path(),
            formats,
            out=folder,
            version=number,
            max_drop=max_drop,
            keep=prune,
            data=data,
            observer=display,
        )
    if json:
        print_json(result.to_json())
    else:
        _show(result)


def _check(path: Path, *, json: bool, quiet: bool, debug: bool) -> None:
    from tltool.cli.terminal.progress import shown

    with shown(quiet=quiet, debug=debug) as display:
        from tltool.workflows.export import check as workflow

        document = workflow(path, observer=display)
    if json:
        print_json(document)
    elif document["n"] == 0:
        line(
            out(),
            f"{document['path']} is whole: {document['files']} files as they were exported. It has "
            "no golden set, so its answers were not asked.",
        )
    else:
        line(
            out(),
            f"{document['path']} is whole: {document['files']} files as they were exported, and "
            f"{document['n']} golden images answered as then, to "
            f"{document['max_difference']:.1g} (allowed {document['tolerance']:g}).",
        )


def _number(version: str) -> int | None:
    from tltool.errors import UsageError

    if version == "auto":
        return None
    if not (version.isascii() and version.isdecimal() and 0 < int(version) < 2**63):
        raise UsageError(
            f"'{version}' is no version number", hint="give a number from 1 up, or auto"
        )
    return int(version)


def _show(result: "ExportResult") -> None:
    from tltool.export.acceptance import COLUMNS

    console = out()
    print_table(console, COLUMNS, [one.row() for one in result.figures])
    for folder in result.folders:
        line(console, f"exported  {folder}")
    for folder in result.pruned:
        line(console, f"removed   {folder}")
