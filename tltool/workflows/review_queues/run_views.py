"""Heat maps and neighbours for a review, from the model and the backbone of a run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tltool.data.catalog import Catalog, Item
from tltool.data.decoding.transcode import read_image_bytes
from tltool.errors import DataError
from tltool.events import SilentObserver
from tltool.recipe.load import load_recipe
from tltool.review.model_views import ModelViews
from tltool.review.queues import ReviewData
from tltool.runs.layout import RunLayout
from tltool.runs.manifest import read_manifest
from tltool.workflows.resolve.run_backbone import with_kept_backbone
from tltool.workflows.resolve.run_spec import resolve


def run_views(run: RunLayout, data: ReviewData) -> ModelViews:
    """Return heat maps of the model of a run, and neighbours by its pretrained backbone.

    Nothing is loaded before it is asked for.
    """
    items = tuple(Item(one.path, one.label, sha256=one.sha256) for one in data.images)
    return ModelViews(
        explainer=partial(_explainer, run.folder),
        embeddings=partial(run_embeddings, run, items),
        labels=[image.label for image in data.images],
    )


def _explainer(folder: Path) -> Callable[[Path, str | None], bytes]:
    from tltool.serving.heat_map import draw_heat_map
    from tltool.training.own_settings import own_settings
    from tltool.workflows.prediction.explainer import load_explainable

    with own_settings():
        model = load_explainable(folder, "grad-cam")

    def draw(path: Path, class_name: str | None) -> bytes:
        known = class_name in model.class_names
        number = model.class_names.index(class_name) if known and class_name else -1
        content = read_image_bytes(path)
        with own_settings():
            explanation = model.explain([content], number)
        if not explanation.predictions.ok[0]:
            raise DataError(f"{path.name} cannot be decoded")
        return draw_heat_map(content, explanation.heat_maps[0], model.decode)

    return draw


def run_embeddings(run: RunLayout, items: Sequence[Item]) -> NDArray[np.float32]:
    """Return the embeddings of images by the backbone of a run, from the cache if possible.

    Args:
        run: whose recipe names the backbone.
        items: the images, with their digests.

    Returns:
        float32 [N, D].

    Raises:
        EnvironmentProblem: the weights are not available.
    """
    from tltool.training.own_settings import own_settings
    from tltool.workflows.dataset.embeddings import extract_embeddings

    recipe = load_recipe(str(run.recipe))
    spec = resolve(with_kept_backbone(recipe, run, read_manifest(run.manifest)))
    catalog = Catalog(Path(), tuple(items), tuple(sorted({item.label for item in items})))
    with own_settings():
        return extract_embeddings(
            catalog,
            spec.backbone,
            image_size=spec.decode.height,
            resize=spec.decode.resize,
            random_weights=recipe.model.weights == "random",
            offline=True,
            observer=SilentObserver(),
        ).features
