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
from tltool.review.queues import ReviewData, ReviewImage
from tltool.runs.layout import RunLayout
from tltool.runs.manifest import read_manifest
from tltool.workflows.resolve.run_backbone import with_kept_backbone
from tltool.workflows.resolve.run_spec import resolve


def run_views(run: RunLayout, data: ReviewData) -> ModelViews:
    """Return heat maps of the model of a run, and neighbours by its pretrained backbone.

    Nothing is loaded before it is asked for.
    """
    return ModelViews(
        explainer=partial(_explainer, run.folder),
        embeddings=partial(_all_embeddings, run, data.images),
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


def _all_embeddings(run: RunLayout, images: Sequence[ReviewImage]) -> NDArray[np.float32]:
    """Return the embeddings of all images; those without a label have a cache entry of their own.

    So each new file of suggestions leaves the embeddings of the data set in the cache valid.
    """
    unlabelled = np.array([not image.label for image in images])
    order = np.argsort(unlabelled, kind="stable")
    items = [Item(images[row].path, images[row].label, sha256=images[row].sha256) for row in order]
    labelled = len(items) - int(unlabelled.sum())
    grouped = run_embeddings(run, items[:labelled], items[labelled:])
    vectors = np.empty_like(grouped)
    vectors[order] = grouped
    return vectors


def run_embeddings(run: RunLayout, *groups: Sequence[Item]) -> NDArray[np.float32]:
    """Return the embeddings of images by the backbone of a run, from the cache if possible.

    Args:
        run: whose recipe names the backbone.
        groups: the images, with their digests; each group has its own entry in the cache.

    Returns:
        float32 [N, D], the groups one after the other.

    Raises:
        EnvironmentProblem: the weights are not available.
    """
    import keras

    from tltool.training.own_settings import own_settings
    from tltool.workflows.dataset.embeddings import EmbeddingExtractor, pretrained_file

    recipe, observer = load_recipe(str(run.recipe)), SilentObserver()
    spec = resolve(with_kept_backbone(recipe, run, read_manifest(run.manifest)))
    random = recipe.model.weights == "random"
    with own_settings():
        extractor = EmbeddingExtractor(
            spec.backbone,
            image_size=spec.decode.height,
            resize=spec.decode.resize,
            weights=None
            if random
            else pretrained_file(spec.backbone, offline=True, observer=observer),
            observer=observer,
        )
        vectors = [extractor.features(extractor.source(_catalog(one))) for one in groups if one]
        keras.backend.clear_session(free_memory=True)
    return np.concatenate(vectors)


def _catalog(items: Sequence[Item]) -> Catalog:
    return Catalog(Path(), tuple(items), tuple(sorted({item.label for item in items})))
