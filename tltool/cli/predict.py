"""tltool predict."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from tltool.cli.terminal import options
from tltool.cli.terminal.console import err, line, out, print_json, print_table
from tltool.cli.terminal.errors import guarded
from tltool.cli.terminal.results import UNKNOWN, shown_class
from tltool.errors import UsageError

if TYPE_CHECKING:
    from tltool.workflows.batch_predict import Tally
    from tltool.workflows.prediction.output_file import Columns
    from tltool.workflows.prediction.prediction import Prediction

_HOW: Literal["copy"] = "copy"
_UNSURE_BELOW = 0.7


@guarded
def predict(
    model: options.Model,
    images: Annotated[
        list[str],
        typer.Argument(metavar="PHOTO", help="Images, folders, or any source that finetune takes."),
    ],
    top: Annotated[
        int, typer.Option(metavar="NUMBER", min=1, help="How many classes to name per image.")
    ] = 1,
    sets: Annotated[
        float | None,
        typer.Option(
            metavar="SHARE",
            min=0.5,
            max=0.999,
            help="Name as many classes as hold the right one with this probability, such as 0.9.",
        ),
    ] = None,
    tta: options.Tta = "none",
    output: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Write each answer to this .csv or .jsonl as it comes; - is CSV on stdout.",
        ),
    ] = None,
    append: Annotated[
        bool,
        typer.Option(
            "--append",
            help="Go on where --output ends. What has a row there is left out, and not sorted.",
        ),
    ] = False,
    sort_into: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="Copy each image into a folder named by its class."),
    ] = None,
    how: Annotated[
        Literal["copy", "link"] | None,
        typer.Option(
            metavar="copy|link", help=f"With --sort-into: copies or links; {_HOW} if not given."
        ),
    ] = None,
    unsure_below: Annotated[
        float | None,
        typer.Option(
            metavar="SHARE",
            min=0,
            max=1,
            help="With --sort-into: images of a lower confidence go into _unsure; "
            f"{_UNSURE_BELOW} if not given.",
        ),
    ] = None,
    pixels: options.Pixels = None,
    offline: options.Offline = False,
    json: options.Json = False,
    quiet: options.Quiet = False,
    debug: options.Debug = False,
) -> None:
    """Name what is on images. Exit code 3 when some could not be read; the others are answered."""
    from tltool.cli.terminal.progress import shown
    from tltool.workflows.prediction.class_folders import Sorting
    from tltool.workflows.prediction.options import check_predicting

    to_stdout = output is not None and str(output) == "-"
    if to_stdout and json:
        raise UsageError("--output - and --json cannot both have stdout", hint="name a file")
    for name, given in (("--how", how), ("--unsure-below", unsure_below)):
        if given is not None and sort_into is None:
            raise UsageError(f"{name} needs --sort-into", hint="such as --sort-into sorted")
    least = _UNSURE_BELOW if unsure_below is None else unsure_below
    sorting = Sorting(sort_into, how or _HOW, least) if sort_into else None
    file = None if to_stdout else output
    check_predicting(model, images, output=file, append=append, sorting=sorting, sets=sets, tta=tta)
    found: list[Prediction] = []
    stdout = sys.stdout  # as it is before the display takes it for what libraries print

    def each(columns: "Columns") -> "Callable[[Prediction], None]":
        from tltool.workflows.prediction.output_file import csv_writer

        return csv_writer(stdout, columns) if to_stdout else found.append

    with shown(quiet=quiet, debug=debug) as display:
        from tltool.workflows.batch_predict import predict_many

        tally = predict_many(
            model,
            images,
            top=top,
            sets=sets,
            tta=tta,
            output=file,
            append=append,
            sorting=sorting,
            each=each if json or to_stdout or output is None else None,
            pixels=pixels,
            offline=offline,
            observer=display,
        )
    if json:
        print_json([tally.columns.document(prediction) for prediction in found])
    elif output is None:
        _print(found, tally)
    elif tally.wanted:
        _print_counts(tally)
    _tell(tally, file, sort_into)
    if tally.failed:
        raise typer.Exit(3)


def _print(found: "list[Prediction]", tally: "Tally") -> None:
    columns = tally.columns
    names = ["photo", "class", "confidence", *(["then"] if columns.ranks > 1 else [])]
    names += ["set"] if columns.sets else []
    rows = [_cells(prediction, columns) for prediction in found]
    print_table(out(), names, rows)


def _cells(prediction: "Prediction", columns: "Columns") -> list[str]:
    width = 3 + (columns.ranks > 1) + columns.sets
    if prediction.error is not None:
        return [str(prediction.path), f"error: {prediction.error}", *[""] * (width - 2)]
    (name, value), *others = prediction.top
    shown = shown_class(name, prediction.is_known)
    cells = [str(prediction.path), shown, f"{value:.3f}"]
    if columns.ranks > 1:
        cells.append(", ".join(f"{other} {share:.3f}" for other, share in others))
    if columns.sets:
        cells.append(", ".join(prediction.classes or ()))
    return cells


def _print_counts(tally: "Tally") -> None:
    """Print how many images got which answer, on stderr: the answers are in a file."""
    rows = [[name, f"{count:,}"] for name, count in tally.by_class.most_common()]
    rows += [[UNKNOWN, f"{tally.unknown:,}"]] if tally.columns.unknown else []
    line(err())
    print_table(err(), ["class", "photos"], rows)


def _tell(tally: "Tally", file: Path | None, folder: Path | None) -> None:
    """Say on stderr where the answers are, and what has none."""
    if file is not None:
        more = f"; {tally.skipped:,} were in it before" if tally.skipped else ""
        nothing = "" if tally.wanted else "nothing left to do: "
        line(err(), f"{nothing}wrote {tally.answered + tally.failed:,} answers to {file}{more}")
    if tally.failed_before:
        line(
            err(),
            f"rows of before with an error: {tally.failed_before:,}; to try these files again, "
            "delete the rows",
        )
    if folder is not None:
        told = ", ".join(f"{name} {count:,}" for name, count in sorted(tally.placed.items()))
        line(err(), f"sorted {tally.placed.total():,} images into {folder}: {told or 'none'}")
        if tally.there_before:
            line(err(), f"{tally.there_before:,} of them lay there already")
        if tally.skipped:
            line(err(), f"answered before, and so not sorted: {tally.skipped:,}")
    if tally.failed:
        line(
            err(),
            f"{tally.failed:,} of {tally.answered + tally.failed:,} files could not be answered",
        )
