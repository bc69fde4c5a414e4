"""Name what is on images, with a trained model or an export."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tltool.evaluation.calibration.prediction_sets import (
    conformal_quantile,
    prediction_sets,
    uniform_draw_of_bytes,
)
from tltool.events import Observer, SilentObserver
from tltool.inference import Predictions, Tta
from tltool.workflows.prediction.inputs import InputImage, list_inputs
from tltool.workflows.prediction.model import LoadedModel, load_model
from tltool.workflows.prediction.options import check_sets
from tltool.workflows.prediction.prediction import Prediction


@dataclass(frozen=True)
class Predicting:
    """A model, the files that it is asked, and its answers as they come.

    Attributes:
        class_names: of the model.
        has_ood_detector: whether the model can tell what it does not know.
        count: files to be answered.
        skipped: files left out, as they were answered before.
        answers: one prediction per file, in order; nothing is kept of those taken.
    """

    class_names: tuple[str, ...]
    has_ood_detector: bool
    count: int
    skipped: int
    answers: Iterator[Prediction]


def predict(
    model: Path | str,
    images: Sequence[Path | str],
    *,
    top: int = 1,
    sets: float | None = None,
    tta: Tta = "none",
    pixels: str | None = None,
    offline: bool = False,
    observer: Observer | None = None,
) -> list[Prediction]:
    """Return one prediction per image; folders and other sources stand for all that they hold.

    A file that cannot be read or decoded gets a prediction with an error; the others are answered.
    Labels that a source has are not looked at. ``start_predicting`` gives the answers one by one.

    Args:
        model: a run folder or an exported model.
        images: image files, folders, or other sources of images.
        top: how many classes to name per image.
        sets: name as many classes as hold the right one with this probability.
        tta: average the probabilities over changed copies of each image: flips or crops.
        pixels: shape of the images in a table of pixels, HxW or HxWx3; None means square.
        offline: open no network connection.
        observer: told about the progress.

    Raises:
        UsageError, DataError: the model, or none of the files, can be used; ``sets`` with ``tta``.
    """
    predicting = start_predicting(
        model,
        images,
        top=top,
        sets=sets,
        tta=tta,
        pixels=pixels,
        offline=offline,
        observer=observer,
    )
    return list(predicting.answers)


def start_predicting(
    model: Path | str,
    images: Sequence[Path | str],
    *,
    top: int = 1,
    sets: float | None = None,
    tta: Tta = "none",
    pixels: str | None = None,
    offline: bool = False,
    done: Collection[str] = frozenset(),
    once: bool = False,
    observer: Observer | None = None,
) -> Predicting:
    """Open the model and the files, and return the answers as an iterator: memory is bounded.

    Takes the arguments of ``predict`` and raises what it raises, before the first answer.

    Args:
        done: absolute paths of files that are left out.
        once: answer a file once that is given several times.
    """
    observer = observer or SilentObserver()
    check_sets(sets, tta)
    found = list_inputs(images, pixels=pixels, offline=offline, observer=observer)
    left = _each_once(found) if once else [(_absolute(file), file) for file in found]
    files = [file for path, file in left if path not in done]
    observer.on_phase("model", str(model))
    opened = load_model(Path(model))
    asked = _Asked(
        top, conformal_quantile(opened.calibration_scores(), sets) if sets else None, tta
    )
    return Predicting(
        class_names=opened.class_names,
        has_ood_detector=opened.has_ood_detector,
        count=len(files),
        skipped=len(left) - len(files),
        answers=_stream(opened, files, asked, observer),
    )


@dataclass(frozen=True)
class _Asked:
    """What is wanted of each image."""

    top: int
    threshold: float | None
    tta: Tta


def _stream(
    opened: LoadedModel, files: Sequence[InputImage], asked: _Asked, observer: Observer
) -> Iterator[Prediction]:
    observer.on_phase("predict", f"{len(files):,} file{'s' if len(files) != 1 else ''}")
    for start in range(0, len(files), opened.batch_size):
        batch = files[start : start + opened.batch_size]
        yield from _answers(opened, batch, asked)
        observer.on_progress(start + len(batch), len(files))


def _answers(
    opened: LoadedModel, files: Sequence[InputImage], asked: _Asked
) -> Iterator[Prediction]:
    contents = [file.content() for file in files]
    readable = [content for content in contents if isinstance(content, bytes)]
    answers = opened.answer(readable, tta=asked.tta)
    sets = _sets(answers, readable, asked.threshold)
    rows = iter(range(len(readable)))
    for file, content in zip(files, contents, strict=True):
        problem = content if isinstance(content, str) else None
        row = next(rows) if problem is None else 0
        if problem is None and not answers.ok[row]:
            problem = "not an image, damaged or truncated"
        if problem is not None:
            yield Prediction(file.shown, problem, (), file=file.path)
            continue
        order = np.argsort(-answers.probabilities[row], kind="stable")
        shares = answers.probabilities[row]
        names = opened.class_names
        yield Prediction(
            file.shown,
            None,
            tuple((names[n], float(shares[n])) for n in order[: max(1, asked.top)]),
            **_familiarity(answers, row),
            classes=None if sets is None else tuple(names[n] for n in order if sets[row, n]),
            file=file.path,
        )


def _sets(
    answers: Predictions, contents: Sequence[bytes], threshold: float | None
) -> np.ndarray | None:
    if threshold is None:
        return None
    draws = np.array([uniform_draw_of_bytes(content) for content in contents])
    return prediction_sets(answers.probabilities, draws, threshold)


def _familiarity(answers: Predictions, row: int) -> dict[str, Any]:
    if answers.ood_scores is None or answers.is_known is None:
        return {}
    return {
        "is_known": bool(answers.is_known[row]),
        "ood_score": float(answers.ood_scores[row]),
    }


def _each_once(files: Sequence[InputImage]) -> list[tuple[str, InputImage]]:
    """Return the files with their absolute paths, those given several times once."""
    found: dict[str, InputImage] = {}
    for file in files:
        found.setdefault(_absolute(file), file)
    return list(found.items())


def _absolute(file: InputImage) -> str:
    return os.path.abspath(file.shown)  # noqa: PTH100  (a link stays what it is)
