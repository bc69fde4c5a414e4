"""Explain predictions: one picture per image with a heat map of the evidence for a class."""

from __future__ import annotations

import io
import itertools
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import tensorflow as tf

from tltool.data.decoding.decode import decode_image
from tltool.errors import EnvironmentProblem, UsageError
from tltool.evaluation.explain.overlay import side_by_side
from tltool.evaluation.explain.saliency import TITLES, Method
from tltool.events import Observer, SilentObserver
from tltool.storage.durable import new_file
from tltool.training.own_settings import with_own_settings
from tltool.workflows.prediction.explainer import ExplainableModel, Explanation, load_explainable
from tltool.workflows.prediction.inputs import InputImage, list_inputs
from tltool.workflows.preflight.arguments import file_instead_of_folder
from tltool.workflows.preflight.model_arguments import check_class

_BATCH = 8  # images that are read and explained together
_MAX_STEM_BYTES = 200  # a file name may have 255, with method and number


@dataclass(frozen=True)
class ImageExplanation:
    """The explanation of one image.

    Attributes:
        path: the file, or its name in an archive or table; of an object in a store its address, as
            text.
        error: why there is no picture; None if there is one.
        predicted: the predicted class; empty with an error.
        confidence: its probability.
        explained: the class that the heat map explains.
        probability: its probability.
        is_known: whether the image is in-distribution (similar to the training images); None with
            an error, or if the model has no OOD detector.
        ood_score: OOD score; above 1 the image is out-of-distribution. None like ``is_known``.
        evidence: whether the image has evidence for the explained class; if not, the heat map is
            empty.
        picture: the file written.
    """

    path: Path | str
    error: str | None
    predicted: str = ""
    confidence: float = 0.0
    explained: str = ""
    probability: float = 0.0
    is_known: bool | None = None
    ood_score: float | None = None
    evidence: bool = False
    picture: Path | None = None


@with_own_settings
def explain(
    model: Path | str,
    images: Sequence[Path | str] | Path | str,
    *,
    out: Path | str = Path("explanations"),
    method: Method = "grad-cam",
    class_name: str | None = None,
    pixels: str | None = None,
    trust: bool = False,
    offline: bool = False,
    observer: Observer | None = None,
) -> list[ImageExplanation]:
    """Write one picture per image into ``out``: the image, and the image with its heat map.

    A file that cannot be read or decoded gets an entry with an error; the others are explained. No
    existing file is replaced: a new one gets a number.

    Args:
        model: a run folder, or an export to the format keras, or saved_model for grad-cam.
        images: an image, a folder or another source, or several; labels are ignored.
        out: folder of the pictures; created if absent.
        method: see ``Explainer``.
        class_name: the class to explain; by default the predicted class of each image.
        pixels: shape of the images in a table of pixels, HxW or HxWx3; None means square.
        trust: load the model without a check of its files and operations.
        offline: open no network connection.
        observer: receives progress events.

    Raises:
        UsageError: the model, the class or ``out`` cannot be used.
        DataError: there are no images, or the model cannot be read.
        GateError: the model returns numbers that are not finite.
        EnvironmentProblem: ``out`` cannot be written.

    Examples:
        >>> (explanation,) = tltool.explain("runs/photos", "new.jpg", out="heat-maps")
        >>> explanation.picture
        PosixPath('heat-maps/new-grad-cam.png')
    """
    observer = observer or SilentObserver()
    images = [images] if isinstance(images, (str, Path)) else images
    inputs = list_inputs(images, pixels=pixels, offline=offline, observer=observer)
    observer.on_phase("model", str(model))
    explainable = load_explainable(Path(model), method, trust=trust)
    class_id = _class_id(class_name, explainable.class_names)
    writer = _PictureWriter(explainable, method, _create(Path(out)))
    observer.on_phase("explain", f"{len(inputs)} image{'s' if len(inputs) > 1 else ''}, {method}")
    explanations: list[ImageExplanation] = []
    for start in range(0, len(inputs), _BATCH):
        for one in _explain_batch(inputs[start : start + _BATCH], explainable, class_id, writer):
            explanations.append(one)
            observer.on_progress(len(explanations), len(inputs))
    return explanations


def _class_id(name: str | None, names: Sequence[str]) -> int:
    """Return the id of a class; -1 for the predicted class.

    Raises:
        UsageError: the model has no such class.
    """
    if name is None:
        return -1
    check_class(name, names)
    return names.index(name)


def _create(folder: Path) -> Path:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except FileExistsError:
        raise file_instead_of_folder(folder) from None
    except OSError as error:
        raise EnvironmentProblem(
            f"the folder '{folder}' cannot be created: {error.strerror}",
            hint="give a folder with write permission with --out",
        ) from None
    return folder


def _explain_batch(
    inputs: Sequence[InputImage],
    explainable: ExplainableModel,
    class_id: int,
    writer: _PictureWriter,
) -> Iterator[ImageExplanation]:
    contents = [one.content() for one in inputs]
    readable = [content for content in contents if isinstance(content, bytes)]
    explanation = explainable.explain(readable, class_id) if readable else None
    rows = itertools.count()
    for one, content in zip(inputs, contents, strict=True):
        if isinstance(content, str) or explanation is None:
            yield ImageExplanation(one.shown, str(content))
        elif not explanation.predictions.ok[row := next(rows)]:
            yield ImageExplanation(one.shown, "not an image, damaged or truncated")
        else:
            yield writer.write(one.shown, content, explanation, row)


class _PictureWriter:
    """Writes one picture per image."""

    def __init__(self, explainable: ExplainableModel, method: Method, folder: Path) -> None:
        self._explainable, self._method, self._folder = explainable, method, folder

    def write(
        self, shown: Path | str, content: bytes, explanation: Explanation, row: int
    ) -> ImageExplanation:
        """Write the picture of one image and return its explanation."""
        names, predictions = self._explainable.class_names, explanation.predictions
        probabilities, heat_map = predictions.probabilities[row], explanation.heat_maps[row]
        predicted, explained = int(probabilities.argmax()), int(explanation.classes[row])
        known, scores = predictions.is_known, predictions.ood_scores
        result = ImageExplanation(
            shown,
            None,
            predicted=names[predicted],
            confidence=float(probabilities[predicted]),
            explained=names[explained],
            probability=float(probabilities[explained]),
            is_known=None if known is None else bool(known[row]),
            ood_score=None if scores is None else float(scores[row]),
            evidence=bool(heat_map.any()),
        )
        picture = side_by_side(
            decode_image(tf.constant(content)).numpy(),
            heat_map,
            self._explainable.decode,
            title=f"{_title(result)}  ·  {Path(shown).name}",
            subtitle=_subtitle(result, self._method),
        )
        encoded = io.BytesIO()
        picture.save(encoded, "PNG")
        return replace(result, picture=self._save(shown, encoded.getvalue()))

    def _save(self, shown: Path | str, png: bytes) -> Path:
        """Write a new file; existing files are kept."""
        stem = os.fsencode(Path(shown).stem)[:_MAX_STEM_BYTES].decode(errors="ignore")
        name, number = f"{stem}-{self._method}", 1
        while True:
            path = self._folder / (f"{name}.png" if number == 1 else f"{name}-{number}.png")
            if path.exists():
                number += 1
                continue
            try:
                with new_file(path) as part:
                    part.write_bytes(png)
            except UsageError:  # another process has just taken the name
                number += 1
            except PermissionError:
                raise EnvironmentProblem(
                    f"the folder '{self._folder}' cannot be written: permission denied",
                    hint="give a folder with write permission with --out",
                ) from None
            else:
                return path


def _title(result: ImageExplanation) -> str:
    nearest = f"{result.predicted} {result.confidence:.2f}"
    return f"unknown (nearest: {nearest})" if result.is_known is False else nearest


def _subtitle(result: ImageExplanation, method: Method) -> str:
    if not result.evidence:
        return f"{TITLES[method]}: no evidence for {result.explained}"
    if result.explained == result.predicted:
        return f"{TITLES[method]}: evidence for {result.explained}"
    return f"{TITLES[method]}: evidence for {result.explained} ({result.probability:.2f})"
