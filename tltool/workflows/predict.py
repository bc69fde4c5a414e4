"""Classify images with a trained model or an export."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tltool.data.decoding.native_messages import JpegWarnings
from tltool.evaluation.calibration.conformal_quantile import images_needed
from tltool.evaluation.calibration.prediction_sets import (
    prediction_sets,
    uniform_draw_of_bytes,
)
from tltool.events import Observer, SilentObserver
from tltool.features.out_of_memory import micro_batches, reported_to
from tltool.inference import Predictions, Tta
from tltool.training.own_settings import with_own_settings
from tltool.workflows.prediction.broken_images import BrokenImages
from tltool.workflows.prediction.inputs import ImageInMemory, InputImage, list_inputs
from tltool.workflows.prediction.model import LoadedModel, load_model
from tltool.workflows.prediction.options import PredictOptions
from tltool.workflows.prediction.prediction import Prediction, absolute_name


@dataclass(frozen=True)
class PredictionStream:
    """Predictions that are computed while they are consumed.

    Attributes:
        class_names: of the model.
        has_ood_detector: whether the model detects out-of-distribution images.
        count: number of images to predict.
        skipped: number of images left out because they were predicted before.
        images: those to predict.
        batch_size: images per call of the model.
        predictions: one prediction per image, in order; none is kept in memory.
    """

    class_names: tuple[str, ...]
    has_ood_detector: bool
    count: int
    skipped: int
    images: Sequence[InputImage]
    batch_size: int
    predictions: Iterator[Prediction]


@with_own_settings
def predict(
    model: Path | str,
    images: Sequence[Path | str] | Path | str,
    *,
    top: int = 1,
    prediction_set: float | None = None,
    per_class: bool = False,
    tta: Tta = "none",
    pixels: str | None = None,
    offline: bool = False,
    observer: Observer | None = None,
) -> list[Prediction]:
    """Return one prediction per image; of folders and other sources, for all their images.

    An image that cannot be read or decoded gets a prediction with an error; the others are
    predicted. Labels of a source are ignored. ``stream_predictions`` returns an iterator instead.

    Args:
        model: a run folder or an exported model.
        images: an image file, a folder or another source of images, or several.
        top: how many of the most probable classes to return per image.
        prediction_set: coverage of the prediction sets, such as 0.9; None for no sets.
        per_class: whether this coverage holds for each class, and not only on average.
        tta: test-time augmentation: average the probabilities over flips or crops of each image.
        pixels: shape of the images in a table of pixels, HxW or HxWx3; None means square.
        offline: open no network connection.
        observer: receives progress events.

    Raises:
        UsageError, DataError: the model cannot be used, there are no images, or
            ``prediction_set`` is combined with ``tta``.

    Examples:
        >>> prediction, *others = tltool.predict("runs/photos", "photos", top=3)
        >>> prediction.error is None, len(prediction.top)
        (True, 3)
    """
    options = PredictOptions(
        Path(model),
        [images] if isinstance(images, (str, Path)) else images,
        top=top,
        prediction_set=prediction_set,
        per_class=per_class,
        tta=tta,
        pixels=pixels,
        offline=offline,
    )
    options.check()
    return list(stream_predictions(options, observer=observer).predictions)


@with_own_settings
def stream_predictions(
    options: PredictOptions,
    *,
    skip: Collection[str] = frozenset(),
    unique: bool = False,
    observer: Observer | None = None,
) -> PredictionStream:
    """Load the model, list the images, and return the predictions as an iterator.

    Memory does not grow with the number of images.

    Args:
        options: checked options; ``output`` and ``class_folders`` are ignored here.
        skip: absolute paths of images to leave out.
        unique: predict an image only once if it is listed several times.
        observer: receives progress events.

    Raises:
        UsageError, DataError: the model cannot be used, or there are no images.
    """
    observer = observer or SilentObserver()
    inputs = list_inputs(
        options.images, pixels=options.pixels, offline=options.offline, observer=observer
    )
    paths = [(absolute_name(image.shown), image) for image in inputs]
    paths = _unique(paths) if unique else paths
    remaining = [image for path, image in paths if path not in skip]
    observer.on_phase("model", str(options.model))
    model = load_model(options.model, trust=options.trust)
    return PredictionStream(
        class_names=model.class_names,
        has_ood_detector=model.has_ood_detector,
        count=len(remaining),
        skipped=len(paths) - len(remaining),
        images=remaining,
        batch_size=model.batch_size,
        predictions=predictions_of(model, remaining, options, observer),
    )


def predictions_of(
    model: LoadedModel,
    images: Sequence[InputImage | ImageInMemory],
    options: PredictOptions,
    observer: Observer,
) -> Iterator[Prediction]:
    """Return the predictions of a loaded model; ``model`` and ``images`` of the options are unused.

    Raises:
        UsageError: the model has too few calibration scores for prediction sets.
    """
    thresholds = set_thresholds(model, options, observer)
    return _stream(model, images, options, thresholds, observer)


def _stream(
    model: LoadedModel,
    images: Sequence[InputImage | ImageInMemory],
    options: PredictOptions,
    thresholds: np.ndarray | None,
    observer: Observer,
) -> Iterator[Prediction]:
    observer.on_phase("predict", f"{len(images):,} image{'s' if len(images) != 1 else ''}")
    broken, fitting, done = BrokenImages(), reported_to(observer), 0
    batches = batches_of(model, images, options, thresholds, broken)
    while done < len(images):
        with micro_batches(fitting):
            predictions = next(batches)
        yield from predictions
        done += len(predictions)
        observer.on_progress(done, len(images))
    broken.report(observer)


def batches_of(
    model: LoadedModel,
    images: Sequence[InputImage | ImageInMemory],
    options: PredictOptions,
    thresholds: np.ndarray | None,
    broken: BrokenImages,
) -> Iterator[list[Prediction]]:
    """Yield the predictions of each batch.

    Args:
        model: the model.
        images: to predict; one prediction each.
        options: ``model`` and ``images`` of them are unused.
        thresholds: see ``set_thresholds``.
        broken: counts damaged images.
    """
    for start in range(0, len(images), model.batch_size):
        batch = images[start : start + model.batch_size]
        yield _predict_batch(model, batch, options, thresholds, broken)


@with_own_settings
def _predict_batch(
    model: LoadedModel,
    images: Sequence[InputImage | ImageInMemory],
    options: PredictOptions,
    thresholds: np.ndarray | None,
    broken: BrokenImages,
) -> list[Prediction]:
    return list(_predictions(model, images, options, thresholds, broken))


def _predictions(
    model: LoadedModel,
    images: Sequence[InputImage | ImageInMemory],
    options: PredictOptions,
    thresholds: np.ndarray | None,
    broken: BrokenImages,
) -> Iterator[Prediction]:
    contents = [image.content() for image in images]
    readable = [content for content in contents if isinstance(content, bytes)]
    with JpegWarnings() as warnings:
        predictions = model.predict(readable, tta=options.tta)
        if warnings.take():
            broken.find(images, contents, warnings)
    sets = _prediction_sets(predictions, readable, thresholds)
    rows = iter(range(len(readable)))
    for image, content in zip(images, contents, strict=True):
        error = content if isinstance(content, str) else None
        row = next(rows) if error is None else 0
        if error is None and not predictions.ok[row]:
            error = "not an image, damaged or truncated"
        if error is not None:
            yield Prediction(image.shown, error, (), file=image.path)
            continue
        probabilities, names = predictions.probabilities[row], model.class_names
        order = np.argsort(-probabilities, kind="stable")
        yield Prediction(
            image.shown,
            None,
            tuple((names[n], float(probabilities[n])) for n in order[: max(1, options.top)]),
            **_ood_fields(predictions, row),
            prediction_set=None if sets is None else tuple(names[n] for n in order if sets[row, n]),
            file=image.path,
        )


def set_thresholds(
    model: LoadedModel, options: PredictOptions, observer: Observer
) -> np.ndarray | None:
    """Return the threshold of each class for prediction sets; None without them.

    Raises:
        UsageError: the model has too few calibration scores for prediction sets.
    """
    level = options.prediction_set
    if level is None:
        return None
    thresholds = model.set_thresholds(level, per_class=options.per_class)
    if thresholds.too_few:
        observer.on_message(
            f"{', '.join(thresholds.too_few)}: fewer than the {images_needed(level)} independent "
            f"validation images that a coverage of {level:g} per class needs; every prediction set "
            "contains them",
            level="warning",
        )
    return thresholds.values


def _prediction_sets(
    predictions: Predictions, contents: Sequence[bytes], thresholds: np.ndarray | None
) -> np.ndarray | None:
    if thresholds is None:
        return None
    draws = np.array([uniform_draw_of_bytes(content) for content in contents])
    return prediction_sets(predictions.probabilities, draws, thresholds)


def _ood_fields(predictions: Predictions, row: int) -> dict[str, Any]:
    if predictions.ood_scores is None or predictions.is_known is None:
        return {}
    return {
        "is_known": bool(predictions.is_known[row]),
        "ood_score": float(predictions.ood_scores[row]),
    }


def _unique(paths: Sequence[tuple[str, InputImage]]) -> list[tuple[str, InputImage]]:
    """Return the first image of each path."""
    first: dict[str, InputImage] = {}
    for path, image in paths:
        first.setdefault(path, image)
    return list(first.items())
