"""tltool predict."""

import csv
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TextIO

import typer

from tltool.cli import options
from tltool.cli.boundary import guarded
from tltool.cli.console import err, line, out, print_json, print_table
from tltool.errors import UsageError

if TYPE_CHECKING:
    from tltool.workflows.predict import Prediction


@guarded
def predict(
    model: options.Model,
    images: Annotated[
        list[str],
        typer.Argument(metavar="PHOTO", help="Photos, folders, or any source that finetune takes."),
    ],
    top: Annotated[
        int, typer.Option(metavar="NUMBER", min=1, help="How many classes to name per photo.")
    ] = 1,
    csv_file: Annotated[
        Path | None,
        typer.Option("--csv", metavar="FILE", help="Write the answers to this file; - for stdout."),
    ] = None,
    pixels: options.Pixels = None,
    offline: options.Offline = False,
    json: options.Json = False,
    quiet: options.Quiet = False,
    debug: options.Debug = False,
) -> None:
    """Name what is on photos. Exit code 3 when some could not be read; the others are answered."""
    from tltool.cli.display import shown

    _check_target(csv_file, json=json)
    with shown(quiet=quiet, debug=debug) as display:
        from tltool.workflows.predict import predict as workflow

        found = workflow(model, images, top=top, pixels=pixels, offline=offline, observer=display)
    if csv_file is not None:
        _write_csv(csv_file, found)
    if json:
        print_json([_document(prediction) for prediction in found])
    elif csv_file is None:
        _print(found, top=top)
    bad = sum(prediction.error is not None for prediction in found)
    if bad:
        line(err(), f"{bad} of {len(found)} files could not be answered")
        raise typer.Exit(3)


def _document(prediction: "Prediction") -> dict[str, Any]:
    return {
        "path": str(prediction.path),
        "ok": prediction.error is None,
        "error": prediction.error,
        "class": prediction.top[0][0] if prediction.top else None,
        "confidence": prediction.top[0][1] if prediction.top else None,
        "top": [{"class": name, "probability": value} for name, value in prediction.top],
    }


def _print(found: Sequence["Prediction"], *, top: int) -> None:
    columns = ["photo", "class", "confidence", *(["then"] if top > 1 else [])]
    print_table(out(), columns, [_cells(prediction)[: len(columns)] for prediction in found])


def _cells(prediction: "Prediction") -> list[str]:
    if prediction.error is not None:
        return [str(prediction.path), f"error: {prediction.error}", "", ""]
    (name, value), *others = prediction.top
    then = ", ".join(f"{other} {share:.3f}" for other, share in others)
    return [str(prediction.path), name, f"{value:.3f}", then]


def _check_target(file: Path | None, *, json: bool) -> None:
    """Refuse a CSV that cannot be written before the work is done, not after."""
    if file is None:
        return
    if str(file) == "-":
        if json:
            raise UsageError(
                "--csv - and --json cannot both have stdout", hint="give a file: --csv answers.csv"
            )
    elif file.is_dir() or not file.parent.is_dir():
        raise UsageError(
            f"'{file}' cannot be written: it is a folder, or its folder does not exist",
            hint="give the name of a file in a folder that exists",
        )


def _write_csv(file: Path, found: Sequence["Prediction"]) -> None:
    if str(file) == "-":
        _write_rows(sys.stdout, found)
        return
    try:
        # file names that are not UTF-8 come out as the bytes they are
        with file.open("w", newline="", encoding="utf-8", errors="surrogateescape") as target:
            _write_rows(target, found)
    except PermissionError:
        raise UsageError(f"'{file}' cannot be written: permission denied") from None
    line(err(), f"wrote {len(found):,} answers to {file}")


def _write_rows(target: TextIO, found: Sequence["Prediction"]) -> None:
    writer = csv.writer(target, lineterminator="\n")
    ranks = max((len(prediction.top) for prediction in found), default=0)
    pairs = [f"{what}_{rank + 1}" for rank in range(ranks) for what in ("class", "probability")]
    writer.writerow(["path", "error", *pairs])
    for prediction in found:
        cells = [cell for pair in prediction.top for cell in pair]
        writer.writerow([prediction.path, prediction.error or "", *cells])
