"""tltool export."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tltool.cli.terminal import shared_options
from tltool.cli.terminal.completion import complete_run
from tltool.cli.terminal.console import line, print_json, print_table
from tltool.cli.terminal.console import out as stdout
from tltool.cli.terminal.error_output import guarded

if TYPE_CHECKING:
    from tltool.workflows.export import ExportResult


@guarded
def export(
    run: Annotated[
        Path | None,
        typer.Argument(
            metavar="RUN|MODEL",
            help="Folder of a finished run, or its model.keras.",
            autocompletion=complete_run,
        ),
    ] = None,
    formats: Annotated[
        str,
        typer.Option(
            "--format",
            "-f",
            metavar="NAME,…",
            help="Formats: saved_model, litert, litert-fp16, litert-int8, onnx, openvino, keras.",
        ),
    ] = "saved_model",
    out: Annotated[
        Path,
        typer.Option(
            "--out",
            metavar="FOLDER",
            help="Folder in which NAME/VERSION/ or NAME-FORMAT/VERSION/ is created.",
        ),
    ] = Path("saved_models"),
    version: Annotated[
        str, typer.Option(metavar="NUMBER|auto", help="Version number; auto takes the next one.")
    ] = "auto",
    max_drop: Annotated[
        float,
        typer.Option(
            min=0, max=1, metavar="RATE", help="Largest allowed drop in validation accuracy."
        ),
    ] = 0.01,
    prune: Annotated[
        int | None,
        typer.Option(min=1, metavar="K", help="Delete all exported versions except the newest K."),
    ] = None,
    data: Annotated[
        str | None,
        typer.Option(
            metavar="DATA",
            help="New location of the run's images, or other images of the same classes.",
        ),
    ] = None,
    check: Annotated[
        Path | None,
        typer.Option(
            metavar="EXPORT",
            help="Export nothing; verify the files and predictions of this export.",
        ),
    ] = None,
    json: shared_options.Json = False,
    quiet: shared_options.Quiet = False,
    debug: shared_options.Debug = False,
) -> None:
    """Export a run to other formats and compare each with the trained model.

    Exit code 4 if a format fails the comparison; then nothing is exported.
    """
    from tltool.data.sources.open import check_source
    from tltool.errors import UsageError
    from tltool.export.export_formats import parse_formats
    from tltool.export.model_folder import exportable_run

    if (run is None) == (check is None):
        raise UsageError(
            "give either the folder of a run to export, or --check EXPORT",
            hint="tltool export runs/NAME --format onnx",
        )
    parse_formats(formats)  # reports a typing mistake before TensorFlow loads
    if check is not None:
        _check(check, json=json, quiet=quiet, debug=debug)
        return
    number = _parse_version(version)
    assert run is not None
    exportable_run(run)
    if data is not None:
        check_source(data, min_classes=1)
    from tltool.cli.terminal.progress import shown

    with shown(quiet=quiet, debug=debug) as observer:
        from tltool.workflows.export import export as workflow

        result = workflow(
            run,
            formats,
            out=out,
            version=number,
            max_drop=max_drop,
            keep=prune,
            data=data,
            observer=observer,
        )
    if json:
        print_json(result.to_json())
    else:
        _show(result)


def _check(path: Path, *, json: bool, quiet: bool, debug: bool) -> None:
    from tltool.cli.terminal.progress import shown
    from tltool.export.model_folder import sealed_folder

    sealed_folder(path)
    with shown(quiet=quiet, debug=debug) as observer:
        from tltool.workflows.export import check as workflow

        document = workflow(path, observer=observer)
    if json:
        print_json(document)
        return
    intact = f"{document['path']} is intact: {document['files']} files match their SHA-256."
    if document["n"] == 0:
        line(stdout(), f"{intact} It has no golden set, so its predictions were not verified.")
    else:
        line(
            stdout(),
            f"{intact} The predictions for {document['n']} golden images differ by at most "
            f"{document['max_difference']:.1g} (allowed {document['tolerance']:g}).",
        )


def _parse_version(version: str) -> int | None:
    from tltool.errors import UsageError

    if version == "auto":
        return None
    if not (version.isascii() and version.isdecimal() and 0 < int(version) < 2**63):
        raise UsageError(
            f"'{version}' is not a version number", hint="give a whole number from 1, or auto"
        )
    return int(version)


def _show(result: "ExportResult") -> None:
    from tltool.export.acceptance import COLUMNS

    console = stdout()
    print_table(console, COLUMNS, [one.row() for one in result.comparisons])
    for folder in result.folders:
        line(console, f"exported  {folder}")
    for folder in result.pruned:
        line(console, f"removed   {folder}")
