"""tltool predict."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from tltool.cli.terminal import shared_options, training
from tltool.cli.terminal.console import err, line, print_json, print_table
from tltool.cli.terminal.console import out as stdout
from tltool.cli.terminal.error_output import guarded
from tltool.cli.terminal.results import UNKNOWN, shown_class
from tltool.errors import UsageError, some_of

if TYPE_CHECKING:
    from tltool.workflows.batch_predict import PredictionCounts
    from tltool.workflows.prediction.class_folders import ClassFolders
    from tltool.workflows.prediction.output_file import Columns
    from tltool.workflows.prediction.prediction import Prediction

_HOW: Literal["copy"] = "copy"
_MOST_CLASSES = 50  # in a summary of all predictions
_UNSURE_BELOW = 0.7


@guarded
def predict(
    model: shared_options.Model,
    images: Annotated[
        list[str],
        typer.Argument(metavar="IMAGE", help="Images, folders, or any data source of finetune."),
    ],
    top: Annotated[
        int,
        typer.Option(metavar="K", min=1, help="Return the K most probable classes per image."),
    ] = 1,
    prediction_set: Annotated[
        float | None,
        typer.Option(
            metavar="COVERAGE",
            min=0.5,
            max=0.999,
            help="Return a prediction set: the classes that include the true class with this "
            "probability, such as 0.9.",
        ),
    ] = None,
    per_class: Annotated[
        bool,
        typer.Option(
            "--per-class",
            help="With --prediction-set: the probability holds for the images of each class, not "
            "only on average over all images.",
        ),
    ] = False,
    tta: shared_options.Tta = "none",
    output: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Write the predictions to this .csv or .jsonl file, row by row; - writes CSV to "
            "stdout.",
        ),
    ] = None,
    append: Annotated[
        bool,
        typer.Option(
            "--append",
            help="Continue an existing --output file: images that have a row in it are skipped and "
            "not copied by --sort-into.",
        ),
    ] = False,
    sort_into: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER", help="Copy each image into the folder of its predicted class."
        ),
    ] = None,
    how: Annotated[
        Literal["copy", "link"] | None,
        typer.Option(
            metavar="copy|link", help=f"With --sort-into: copy or link images. [default: {_HOW}]"
        ),
    ] = None,
    unsure_below: Annotated[
        float | None,
        typer.Option(
            metavar="CONFIDENCE",
            min=0,
            max=1,
            help="With --sort-into: put images with a lower confidence into _unsure. "
            f"[default: {_UNSURE_BELOW}]",
        ),
    ] = None,
    workers: training.Workers = None,
    cluster: training.Cluster = None,
    pixels: shared_options.Pixels = None,
    trust: shared_options.TrustModel = False,
    offline: shared_options.Offline = False,
    json: shared_options.Json = False,
    quiet: shared_options.Quiet = False,
    debug: shared_options.Debug = False,
) -> None:
    """Classify images. If some cannot be read, the others are classified and the exit code is 3."""
    from tltool.cli.terminal.progress import shown
    from tltool.workflows.prediction.options import PredictOptions
    from tltool.workflows.preflight.model_arguments import check_inputs

    to_stdout = output is not None and str(output) == "-"
    if to_stdout and json:
        raise UsageError("--output - and --json both write to stdout", hint="give a file name")
    file = None if to_stdout else output
    chosen = PredictOptions(
        model,
        images,
        top=top,
        prediction_set=prediction_set,
        per_class=per_class,
        tta=tta,
        pixels=pixels,
        trust=trust,
        offline=offline,
        output=file,
        append=append,
        class_folders=_class_folders(sort_into, how, unsure_below),
        workers=workers,
        cluster=cluster,
    )
    chosen.check()
    check_inputs(images)
    predictions: list[Prediction] = []
    raw_stdout = sys.stdout  # before the display redirects it for output of libraries

    def make_consumer(columns: "Columns") -> "Callable[[Prediction], None]":
        from tltool.workflows.prediction.output_file import csv_writer

        return csv_writer(raw_stdout, columns) if to_stdout else predictions.append

    with shown(quiet=quiet, debug=debug) as observer:
        from tltool.workflows.batch_predict import batch_predict

        only_file = file is not None and not json
        counts = batch_predict(
            chosen, make_consumer=None if only_file else make_consumer, observer=observer
        )
    if json:
        print_json([counts.columns.document(prediction) for prediction in predictions])
    elif output is None:
        _print_predictions(predictions, counts.columns)
    elif counts.total:
        _print_counts(counts)
    _print_summary(counts, file, sort_into)
    if counts.failed:
        raise typer.Exit(3)


def _class_folders(
    folder: Path | None, how: Literal["copy", "link"] | None, unsure_below: float | None
) -> "ClassFolders | None":
    from tltool.workflows.prediction.class_folders import ClassFolders

    for name, value in (("--how", how), ("--unsure-below", unsure_below)):
        if value is not None and folder is None:
            raise UsageError(f"{name} needs --sort-into", hint="for example --sort-into sorted")
    if folder is None:
        return None
    return ClassFolders(
        folder, how or _HOW, _UNSURE_BELOW if unsure_below is None else unsure_below
    )


def _print_predictions(predictions: "list[Prediction]", columns: "Columns") -> None:
    names = ["image", "class", "confidence", *(["next"] if columns.top > 1 else [])]
    names += ["prediction set"] if columns.prediction_set else []
    print_table(stdout(), names, [_cells(prediction, columns) for prediction in predictions])


def _cells(prediction: "Prediction", columns: "Columns") -> list[str]:
    width = 3 + (columns.top > 1) + columns.prediction_set
    if prediction.error is not None:
        return [str(prediction.path), f"error: {prediction.error}", *[""] * (width - 2)]
    (name, value), *others = prediction.top
    cells = [str(prediction.path), shown_class(name, prediction.is_known), f"{value:.3f}"]
    if columns.top > 1:
        cells.append(", ".join(f"{other} {share:.3f}" for other, share in others))
    if columns.prediction_set:
        cells.append(", ".join(prediction.prediction_set or ()))
    return cells


def _print_counts(counts: "PredictionCounts") -> None:
    """Print the number of images per class on stderr: the predictions are in a file."""
    shown = counts.by_class.most_common(_MOST_CLASSES)
    rows = [[name, f"{count:,}"] for name, count in shown]
    if len(counts.by_class) > len(shown):
        rest = counts.by_class.total() - sum(count for _, count in shown)
        rows.append([f"{len(counts.by_class) - len(shown):,} other classes", f"{rest:,}"])
    rows += [[UNKNOWN, f"{counts.unknown:,}"]] if counts.columns.ood else []
    line(err())
    print_table(err(), ["class", "images"], rows)


def _print_summary(counts: "PredictionCounts", file: Path | None, folder: Path | None) -> None:
    """Print on stderr where the predictions are, and which images have none."""
    done = counts.predicted + counts.failed
    if file is not None:
        before = f"; it had {counts.skipped:,} before" if counts.skipped else ""
        nothing = "" if counts.total else "nothing left to do: "
        line(err(), f"{nothing}wrote {done:,} predictions to {file}{before}")
    if counts.failed_before:
        line(
            err(),
            f"earlier rows with an error: {counts.failed_before:,}; delete these rows to predict "
            "the images again",
        )
    if folder is not None:
        _print_sorted(counts, folder)
    if counts.failed:
        line(err(), f"{counts.failed:,} of {done:,} images could not be classified")


def _print_sorted(counts: "PredictionCounts", folder: Path) -> None:
    by_folder = some_of(
        [f"{name} {count:,}" for name, count in sorted(counts.by_folder.items())], _MOST_CLASSES
    )
    total = counts.by_folder.total()
    line(err(), f"sorted {total:,} images into {folder}: {by_folder or 'none'}")
    if counts.already_present:
        line(err(), f"{counts.already_present:,} of them were already there")
    if counts.skipped:
        line(err(), f"predicted before, and therefore not sorted: {counts.skipped:,}")
