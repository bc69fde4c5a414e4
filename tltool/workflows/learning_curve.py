"""Measure a learning curve: what more labelled images would bring."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tltool.errors import DataError
from tltool.evaluation.learning_curve import LearningCurve
from tltool.evaluation.learning_curve import learning_curve as measure
from tltool.evaluation.plots.learning_curve_plot import plot_learning_curve
from tltool.events import Observer, SilentObserver
from tltool.recipe.schema import DataSection
from tltool.recipe.train_section import ProbeSection
from tltool.storage.durable import new_file
from tltool.training.own_settings import with_own_settings
from tltool.workflows.dataset.embeddings import extract_embeddings
from tltool.workflows.dataset.labelled_images import read_labelled_images
from tltool.workflows.dataset.probe_fit import probe_fit
from tltool.workflows.dataset.splitting import find_duplicates, group_numbers
from tltool.workflows.resolve.find_backbone import find_backbone


@dataclass(frozen=True)
class BackboneCurve:
    """The learning curve of a linear probe on the features of a backbone.

    Attributes:
        backbone: its name.
        classes: number of classes.
        curve: the learning curve.
    """

    backbone: str
    classes: int
    curve: LearningCurve

    def to_json(self) -> dict[str, Any]:
        """Return a JSON-ready dictionary."""
        return {"backbone": self.backbone, "classes": self.classes, **self.curve.to_json()}


@with_own_settings
def learning_curve(
    data: Path | str,
    *,
    backbone: str = "vgg16",
    image_size: int | None = None,
    output: Path | None = None,
    seed: int = 0,
    offline: bool = False,
    observer: Observer | None = None,
) -> BackboneCurve:
    """Cross-validate a linear probe that is trained on 10, 20, 50 and 100 % of the images.

    The splits of the source are merged. Near-duplicates and images of one group stay together.
    Features are cached: a second call with the same images takes seconds.

    Args:
        data: any source of labelled images.
        backbone: name of a pretrained backbone, or the path of a model file.
        image_size: side in pixels; None means the backbone's default.
        output: a PNG file for the plot; replaced if it exists.
        seed: of the folds and of the training sets.
        offline: open no network connection.
        observer: receives progress and messages.

    Raises:
        UsageError: the backbone is unknown.
        DataError: the images cannot be used, or a class has too few.
        EnvironmentProblem: the weights are not available.
    """
    observer = observer or SilentObserver()
    entry = find_backbone(backbone, side=image_size)
    catalog = read_labelled_images(str(data), offline=offline, observer=observer)
    groups = group_numbers(catalog, find_duplicates(catalog, observer))
    observer.on_phase(backbone, f"{len(catalog)} images")
    embeddings = extract_embeddings(
        catalog,
        entry,
        image_size=image_size,
        resize=DataSection().resize,
        offline=offline,
        observer=observer,
    )
    observer.on_phase("probe", "on growing shares of the images")
    classes = len(catalog.class_names)
    curve = measure(
        embeddings.features,
        catalog.labels(),
        groups,
        probe_fit(ProbeSection(), classes, seed),
        seed=seed,
    )
    if curve is None:
        raise DataError(
            f"{data}: a learning curve needs two classes, with at least 4 different images each",
            hint="add images to the small classes, or remove these classes",
        )
    if output is not None:
        with new_file(output) as part:
            plot_learning_curve(part, curve)
    return BackboneCurve(backbone, classes, curve)
