"""tltool predict."""

import csv
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TextIO

import typer

from tltool.cli import options
from tltool.cli.console import err, guarded, out, print_json, print_table
from tltool.cli.display import Display
from tltool.cli.native_logs import silence_native_logs

if TYPE_CHECKING:
    from tltool.workflows.predict import Prediction


@guarded
def predict(
    model: options.Model,
    images: Annotated[list[Path], typer.Argument(help="Photos, or folders of photos.")],
    top: Annotated[int, typer.Option(min=1, help="How many classes to name per photo.")] = 1,
    csv_file: Annotated[
        Path | None, typer.Option("--csv", help="Write the answers to this file; - for stdout.")
    ] = None,
    json: options.Json = False,
    quiet: options.Quiet = False,
    debug: options.Debug = False,
) -> None:
    """Name what is on photos. Exit code 3 when some could not be read; the others are answered."""
    if not debug:
        silence_native_logs()
    with Display(quiet=quiet) as display:
        display.on_phase("start", "loading TensorFlow")
        from tltool.workflows import predict as workflow

        found = workflow.predict(model, images, top=top, observer=display)
    if json:
        print_json([_document(prediction) for prediction in found])
    elif csv_file is not None:
        _write_csv(csv_file, found, top=top)
    else:
        rows = [_cells(prediction) for prediction in found]
        columns = ["photo", "class", "confidence", *(["then"] if top > 1 else [])]
        print_table(out(), "", columns, [row[: len(columns)] for row in rows])
    bad = sum(prediction.error is not None for prediction in found)
    if bad:
        err().print(f"{bad} of {len(found)} files could not be answered")
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


def _cells(prediction: "Prediction") -> list[str]:
    if prediction.error is not None:
        return [str(prediction.path), f"error: {prediction.error}", "", ""]
    (name, value), *others = prediction.top
    then = ", ".join(f"{other} {share:.3f}" for other, share in others)
    return [str(prediction.path), name, f"{value:.3f}", then]


def _write_csv(path: Path, found: Sequence["Prediction"], *, top: int) -> None:
    if str(path) == "-":
        _write_rows(sys.stdout, found, top)
        return
    with path.open("w", newline="", encoding="utf-8") as file:
        _write_rows(file, found, top)


def _write_rows(file: TextIO, found: Sequence["Prediction"], top: int) -> None:
    writer = csv.writer(file)
    pairs = [f"{what}_{rank}" for rank in range(1, top + 1) for what in ("class", "probability")]
    writer.writerow(["path", "error", *pairs])
    for prediction in found:
        cells = [cell for pair in prediction.top for cell in pair]
        writer.writerow([prediction.path, prediction.error or "", *cells])
