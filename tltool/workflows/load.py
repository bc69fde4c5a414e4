"""Load a trained model into a Python program or a notebook."""

from __future__ import annotations

import csv
import html
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tltool.artifact import load_artifact
from tltool.data.sources.python_images import png_bytes
from tltool.errors import UsageError
from tltool.evaluation.report.notebook_html import Page, report_page
from tltool.evaluation.report.text_tables import describe_accuracy
from tltool.events import Observer, SilentObserver
from tltool.inference import Tta
from tltool.notebook import with_display
from tltool.runs.layout import RunLayout, is_artifact
from tltool.training.own_settings import with_own_settings
from tltool.workflows.evaluate import evaluate
from tltool.workflows.explain import ImageExplanation, explain
from tltool.workflows.export import ExportResult, export
from tltool.workflows.predict import predictions_of
from tltool.workflows.prediction.inputs import ImageInMemory, InputImage, list_inputs
from tltool.workflows.prediction.model import LoadedModel, load_model
from tltool.workflows.prediction.options import PredictOptions
from tltool.workflows.prediction.prediction import Prediction

if TYPE_CHECKING:
    import keras


@dataclass(frozen=True)
class TrainedModel:
    """A trained model, loaded once.

    Attributes:
        path: of the run or the export.

    Examples:
        >>> model = tltool.load("runs/photos")
        >>> model.predict("new.jpg")[0].top
        (('bee', 0.97),)
    """

    path: Path
    _loaded: LoadedModel

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names of the classes, in the order of the probabilities."""
        return self._loaded.class_names

    @with_display
    @with_own_settings
    def predict(
        self,
        images: Any,
        *,
        top: int = 1,
        prediction_set: float | None = None,
        per_class: bool = False,
        tta: Tta = "none",
        observer: Observer | None = None,
    ) -> list[Prediction]:
        """Return one prediction per image.

        Args:
            images: a path or the name of a source, the bytes of an image file, an array [H, W, 3]
                or [N, H, W, 3] of 0..255, or a sequence of such; or a ``tf.data.Dataset`` of
                images, whose labels are ignored.
            top: how many of the most probable classes to return per image.
            prediction_set: coverage of the prediction sets, such as 0.9; None for no sets.
            per_class: whether this coverage holds for each class, and not only on average.
            tta: test-time augmentation: average the probabilities over flips or crops.
            observer: receives progress events.

        Raises:
            UsageError: ``images`` are of an unknown type, or options contradict each other.
            DataError: there are no images, or an array is no image.
        """
        observer = observer or SilentObserver()
        options = PredictOptions(
            self.path, (), top=top, prediction_set=prediction_set, per_class=per_class, tta=tta
        )
        options.check()
        return list(
            predictions_of(self._loaded, list(_inputs(images, observer)), options, observer)
        )

    @with_display
    def evaluate(
        self, data: Path | str, *, observer: Observer | None = None, **options: Any
    ) -> dict[str, Any]:
        """Return the metrics on labelled ``data``.

        Args:
            data: a source of labelled images.
            observer: receives progress events.
            **options: those of `tltool.evaluate`.
        """
        return evaluate(self.path, data, observer=observer, **options)

    @with_display
    def explain(
        self,
        images: Sequence[Path | str] | Path | str,
        *,
        observer: Observer | None = None,
        **options: Any,
    ) -> list[ImageExplanation]:
        """Write heat maps of images.

        Args:
            images: paths of images, or a source.
            observer: receives progress events.
            **options: those of `tltool.explain`.
        """
        return explain(self.path, images, observer=observer, **options)

    def export(self, formats: str = "saved_model", **options: Any) -> ExportResult:
        """Export the run to other formats, such as ``litert,onnx``.

        Args:
            formats: names of formats, separated by commas.
            **options: those of `tltool.workflows.export.export`.
        """
        return export(self.path, formats, **options)

    @cached_property
    def keras_model(self) -> keras.Model:
        """The whole network in plain Keras: images float32 [B, H, W, 3] in 0..255 to logits [B, C].

        It is a copy of its own: training it changes neither this object nor the run.

        Raises:
            UsageError: the model is an export; only a run has a network that can be trained.
        """
        if not is_artifact(self.path):
            raise UsageError(
                f"'{self.path}' is an export, whose network cannot be trained",
                hint="load the run that it was exported from",
            )
        return load_artifact(self.path).network.model

    @property
    def metrics(self) -> dict[str, Any]:
        """The document of metrics.json of the run.

        Raises:
            UsageError: the model has none, as an export.
        """
        return dict(json.loads(self._file("metrics").read_text(encoding="utf-8")))

    @property
    def history(self) -> list[dict[str, str]]:
        """The rows of history.csv of the run, one per epoch.

        Raises:
            UsageError: the model has none, as an export.
        """
        with self._file("history").open(encoding="utf-8", newline="") as file:
            return list(csv.DictReader(file))

    def report(self) -> Page:
        """Return the report of the run as an object that a notebook shows.

        Raises:
            UsageError: the model has none.
        """
        return report_page(self.path)

    def _file(self, name: str) -> Path:
        path: Path = getattr(RunLayout(self.path), name)
        if not path.is_file():
            raise UsageError(
                f"'{self.path}' has no {path.name}", hint="load the folder of a finished run"
            )
        return path

    def _repr_html_(self) -> str:
        """Return what a notebook shows for this object."""
        rows = {"model": str(self.path), "classes": ", ".join(self.class_names)}
        if RunLayout(self.path).metrics.is_file():
            rows["result, 95 % interval"] = describe_accuracy(self.metrics)
        cells = "".join(
            f"<tr><th style='text-align:left'>{name}</th><td>{html.escape(value)}</td></tr>"
            for name, value in rows.items()
        )
        return f"<table>{cells}</table>"


@with_own_settings
def load(model: Path | str) -> TrainedModel:
    """Load a run or an export.

    Args:
        model: a run folder or an exported model.

    Raises:
        UsageError: ``model`` does not exist.
        DataError: it is neither, or damaged.

    Examples:
        >>> model = tltool.load("runs/photos")
        >>> model.predict("new.jpg")[0].error is None
        True
    """
    return TrainedModel(Path(model), load_model(Path(model)))


def _inputs(images: Any, observer: Observer) -> Iterator[InputImage | ImageInMemory]:
    if isinstance(images, (str, Path)):
        yield from list_inputs([images], pixels=None, offline=False, observer=observer)
    elif isinstance(images, bytes):
        yield ImageInMemory("image", images)
    elif hasattr(images, "as_numpy_iterator"):
        for element in images.as_numpy_iterator():
            yield from _arrays(element[0] if isinstance(element, tuple) else element)
    elif hasattr(images, "shape"):
        yield from _arrays(np.asarray(images))
    elif isinstance(images, Sequence):
        for one in images:
            yield from _inputs(one, observer)
    else:
        raise UsageError(
            f"images of type {type(images).__name__} cannot be predicted",
            hint="give paths, bytes of image files, arrays or a tf.data.Dataset",
        )


def _arrays(images: np.ndarray) -> Iterator[ImageInMemory]:
    for image in images if images.ndim == 4 else [images]:
        yield ImageInMemory("image", png_bytes(image, where="the array"))
