"""Classify thousands of images: each prediction is written, filed and counted, none is kept."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path

from tltool.engine.work import Engine
from tltool.errors import Interrupted, counted
from tltool.events import Observer
from tltool.export.model_folder import model_digest, version_folder
from tltool.training.devices import share_gpus
from tltool.training.own_settings import with_own_settings
from tltool.workflows.predict import PredictionStream, stream_predictions
from tltool.workflows.predict_by_workers import predict_by_workers
from tltool.workflows.prediction.class_folders import ImageSorter
from tltool.workflows.prediction.options import PredictOptions
from tltool.workflows.prediction.output_file import (
    Columns,
    ExistingRows,
    open_output_file,
    read_existing_rows,
)
from tltool.workflows.prediction.prediction import Prediction
from tltool.workflows.workers import checked_workers, open_workers


@dataclass
class PredictionCounts:
    """How many images were predicted, and as what.

    Attributes:
        columns: the columns of the predictions.
        total: images to predict.
        predicted: images with a prediction.
        failed: images without one.
        unknown: out-of-distribution images.
        skipped: images that had been predicted before.
        failed_before: rows with an error that the output file had before.
        by_class: in-distribution images per predicted class.
        by_folder: images per class folder, if they were sorted.
        already_present: of these, images that were already in the folder.
    """

    columns: Columns
    total: int = 0
    predicted: int = 0
    failed: int = 0
    unknown: int = 0
    skipped: int = 0
    failed_before: int = 0
    by_class: Counter[str] = field(default_factory=Counter)
    by_folder: Counter[str] = field(default_factory=Counter)
    already_present: int = 0

    def add(self, prediction: Prediction) -> None:
        """Count one prediction."""
        if prediction.error is not None:
            self.failed += 1
            return
        self.predicted += 1
        if prediction.is_known is False:
            self.unknown += 1
        else:
            self.by_class[prediction.top[0][0]] += 1


@with_own_settings
def batch_predict(
    options: PredictOptions,
    *,
    make_consumer: Callable[[Columns], Callable[[Prediction], None]] | None = None,
    observer: Observer,
) -> PredictionCounts:
    """Predict all images, write and sort them as ``options`` says, and return the counts.

    Memory does not grow with the number of images.

    Args:
        options: what to predict, and where the predictions go.
        make_consumer: takes the columns and returns a function that is called with every
            prediction.
        observer: receives progress events.

    Raises:
        UsageError, DataError, EnvironmentProblem: see `tltool.errors`.
    """
    options.check()
    # a version that is exported from now on is not used: here and in workers the model is the same
    options = replace(options, model=version_folder(options.model) or options.model)
    where = checked_workers(options.workers, options.cluster)
    gpu = where is not None and share_gpus()
    output = options.output
    existing = read_existing_rows(output) if output and options.append else ExistingRows()
    stream = stream_predictions(options, skip=existing.paths, unique=True, observer=observer)
    columns = _columns(options, stream.class_names, ood=stream.has_ood_detector)
    counts = PredictionCounts(
        columns, stream.count, skipped=stream.skipped, failed_before=existing.failed
    )
    folders = options.class_folders
    sorter = ImageSorter(folders, stream.class_names) if folders else None
    consumers: list[Callable[[Prediction], None]] = [sorter.place] if sorter else []
    with ExitStack() as stack:
        write = None
        if output is not None:
            write = stack.enter_context(
                open_output_file(output, columns, existing, append=options.append)
            )
        consumers += [make_consumer(columns)] if make_consumer else []
        consumers += [write] if write else []
        try:
            engine = stack.enter_context(open_workers(where, gpu=gpu, observer=observer))
            for prediction in _predicted(engine, options, stream, observer):
                for consume in consumers:
                    consume(prediction)
                counts.add(prediction)
        except KeyboardInterrupt:
            raise _interrupted(counts, output) from None
    if sorter:
        counts.by_folder, counts.already_present = sorter.counts, sorter.already_present
    return counts


def _predicted(
    engine: Engine | None, options: PredictOptions, stream: PredictionStream, observer: Observer
) -> Iterator[Prediction]:
    """Return the predictions: computed here, or by the workers of the command."""
    if engine is None:
        return stream.predictions
    observer.on_phase("predict", counted(stream.count, "image", "images"))
    return predict_by_workers(engine, options, stream, observer)


def _columns(options: PredictOptions, class_names: tuple[str, ...], *, ood: bool) -> Columns:
    top = min(options.top, len(class_names))
    defaults = (
        ("top", top, 1),
        ("prediction_set", options.prediction_set, None),
        ("per_class", options.per_class, False),
        ("tta", options.tta, "none"),
    )
    changed = [f"{name}={value}" for name, value, default in defaults if value != default]
    predicted_by = " ".join([model_digest(options.model), *changed])
    return Columns(
        top=top,
        ood=ood,
        prediction_set=options.prediction_set is not None,
        predicted_by=predicted_by,
    )


def _interrupted(counts: PredictionCounts, output: Path | None) -> Interrupted:
    if output is None:
        return Interrupted("interrupted")
    done = counts.predicted + counts.failed
    return Interrupted(
        f"interrupted; '{output}' has {done:,} of {counts.total:,} predictions",
        hint="run the same command with --append to continue",
    )
