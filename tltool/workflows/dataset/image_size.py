"""The size of the network input where the images decide it: `data.image_size: auto`."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from tltool.data.catalog import Item
from tltool.data.decoding.decode_spec import DecodeSpec
from tltool.events import Observer
from tltool.models.backbone_registry import Backbone
from tltool.workflows.dataset.dataset import Dataset
from tltool.workflows.preflight.recipe import recipe_problems
from tltool.workflows.resolve.find_backbone import at_side
from tltool.workflows.resolve.run_spec import RunSpec

_STEP = 32  # of the last feature map of most backbones, in pixels of the image
_SMALLEST = 64  # smaller inputs lose accuracy, also where the images are smaller


def fit_image_size(spec: RunSpec, dataset: Dataset, observer: Observer) -> RunSpec:
    """Return ``spec`` with an input as small as the images, if ``data.image_size`` is auto.

    Images are enlarged only where the recipe cannot be trained with a smaller input. Without
    pretrained weights the backbone's own size stays: it belongs to the architecture.

    Args:
        spec: with the backbone's own size.
        dataset: of whose training and validation images the size is taken.
        observer: receives a message where the size is not the backbone's own.
    """
    if spec.recipe.data.image_size != "auto" or spec.recipe.model.weights == "random":
        return spec
    items = [*dataset.part("train").items, *dataset.part("validation").items]
    side, own = size_by_images(spec.backbone, items), spec.backbone.image_size
    backbone = at_side(spec.backbone, side)
    decode = DecodeSpec(side, side, spec.recipe.data.resize)
    fitted = replace(spec, backbone=backbone or spec.backbone, decode=decode)
    if side == own or backbone is None or any(recipe_problems(fitted)):
        return spec
    observer.on_message(
        f"network input of {side} x {side} pixels instead of {own} x {own}: the images are small "
        f"(median of the shorter sides {median_side(items):.0f} pixels); to enlarge them: --set "
        f"data.image_size={own}"
    )
    return fitted


def size_by_images(backbone: Backbone, items: Sequence[Item]) -> int:
    """Return the side in pixels of the input of ``backbone`` for audited images.

    It is the median of their shorter sides, rounded up to a multiple of 32: at least 64, and at
    most the backbone's own size.
    """
    enough = _STEP * math.ceil(median_side(items) / _STEP)
    return min(backbone.image_size, max(_SMALLEST, enough))


def median_side(items: Sequence[Item]) -> float:
    """Return the median of the shorter sides of audited images, in pixels."""
    return float(np.median([min(item.width, item.height) for item in items]))
