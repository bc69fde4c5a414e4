"""The options of a prediction, checked before any framework is loaded."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tltool.data.sources.tables.pixel_table import parse_shape
from tltool.data.sources.wrong_source import check_image_names
from tltool.errors import UsageError
from tltool.workflows.prediction.class_folders import ClassFolders
from tltool.workflows.prediction.output_file import check_output_file
from tltool.workflows.preflight.model_arguments import check_trained_model
from tltool.workflows.workers import checked_workers

if TYPE_CHECKING:
    from tltool.inference import Tta


@dataclass(frozen=True)
class PredictOptions:
    """What to predict, and where the predictions go.

    Attributes:
        model: a run folder or an exported model.
        images: image files, folders, or other sources of images.
        top: how many of the most probable classes to return per image.
        prediction_set: coverage of the prediction sets, such as 0.9; None for no sets.
        per_class: whether this coverage holds for each class, and not only on average.
        tta: test-time augmentation: over which views of each image to average.
        pixels: shape of the images in a table of pixels, HxW or HxWx3; None means square.
        trust: load the model without a check of its files and operations.
        offline: open no network connection.
        output: a .csv or .jsonl file for the predictions; None for no file.
        append: continue an existing ``output``.
        class_folders: where to copy or link the images by class; None for nowhere.
        workers: number of worker processes on this machine; None for none.
        cluster: the Ray cluster whose workers predict instead: auto or HOST:PORT.
    """

    model: Path
    images: Sequence[Path | str]
    top: int = 1
    prediction_set: float | None = None
    per_class: bool = False
    tta: Tta = "none"
    pixels: str | None = None
    trust: bool = False
    offline: bool = False
    output: Path | None = None
    append: bool = False
    class_folders: ClassFolders | None = None
    workers: int | None = None
    cluster: str | None = None

    def check(self) -> None:
        """Check the options without loading the model.

        Raises:
            EnvironmentProblem: workers need Ray, which is not installed.
            UsageError: options contradict each other, the model does not exist, or the output file
                or the class folders cannot be used.
            DataError: there is no model that predicts, or an address or a pattern stands for the
                images.
        """
        if self.append and self.output is None:
            raise UsageError("--append needs an output file", hint="name it with --output")
        if self.per_class and self.prediction_set is None:
            raise UsageError(
                "--per-class needs --prediction-set", hint="for example --prediction-set 0.9"
            )
        if self.prediction_set and self.tta != "none":
            raise UsageError(
                "--prediction-set cannot be combined with --tta: prediction sets are calibrated "
                "without test-time augmentation",
                hint="leave out one of the two",
            )
        if self.output is not None:
            check_output_file(self.output, append=self.append)
        if self.class_folders is not None:
            self.class_folders.check(self.images)
        checked_workers(self.workers, self.cluster)
        check_trained_model(self.model, images=self.images)
        if self.pixels is not None:
            parse_shape(self.pixels)
        check_image_names(self.images)
