"""Grad-CAM heat maps of the worst mistakes, for the report."""

from __future__ import annotations

import numpy as np
from PIL import Image

from tltool.artifact import Artifact
from tltool.data.decoding.transcode import read_image_bytes
from tltool.errors import UsageError
from tltool.evaluation.explain.overlay import overlay
from tltool.evaluation.explain.saliency import heat_maps
from tltool.evaluation.metrics.labelled_predictions import LabelledPredictions
from tltool.evaluation.report.gallery import WORST_SIDE, worst_errors
from tltool.evaluation.report.thumbnails import thumbnail
from tltool.inference import decoder
from tltool.workflows.prediction.model import same_precision


def heat_map_images(artifact: Artifact, evaluated: LabelledPredictions) -> dict[int, Image.Image]:
    """Return Grad-CAM overlays of the predicted class for the worst mistakes, by image number.

    Images that Pillow cannot read are left out. Empty if the last feature map of the network has a
    single position, so that there is no heat map.
    """
    numbers = worst_errors(evaluated)
    items = [evaluated.images.items[number] for number in numbers]
    spec = artifact.description.decode
    contents = [read_image_bytes(item.path, sha256=item.sha256) for item in items]
    if not contents:
        return {}
    images, _ = decoder(spec)(contents)
    predicted = evaluated.probabilities[numbers].argmax(axis=1)
    precision = same_precision(artifact.description.arithmetic)
    try:
        result = heat_maps(artifact, np.asarray(images), classes=predicted, precision=precision)
    except UsageError:
        return {}
    copies = [thumbnail(item.path, WORST_SIDE) for item in items]
    return {
        number: Image.fromarray(overlay(np.asarray(copy), heat, spec))
        for number, copy, heat in zip(numbers, copies, result.maps, strict=True)
        if copy is not None
    }
