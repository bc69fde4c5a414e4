"""The response of ``POST /v1/classify``: images in, classes out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tltool.serving.input_images import RequestImage, image_error
from tltool.serving.json_values import Arrays
from tltool.serving.served_model import ServedModel

UNKNOWN = "unknown"
_NAMED_OUTPUTS = {"class_name", "class_id", "confidence", "probabilities", "ok"}
_TAIL = 0.025  # of each side of a 95 % interval
_CERTAINTY = (
    (0.99, "almost certain"),
    (0.9, "very likely"),
    (0.7, "likely"),
    (0.5, "more likely than not"),
)


def certainty(confidence: float, images: int | None) -> str | None:
    """Return a probability in words that so many validation images support.

    If all of n independent images are classified correctly, the accuracy is above 0.025^(1/n) with
    97.5 % confidence (Clopper and Pearson 1934): 0.93 for 49 images, so that no prediction of a
    model with 49 validation images is almost certain.

    Args:
        confidence: probability of the predicted class.
        images: independent validation images of the model; None if their number is unknown.

    Returns:
        None if the number is unknown: then there is no evidence for any of the words.
    """
    if images is None:
        return None
    supported = min(confidence, _TAIL ** (1 / images))
    return next((words for least, words in _CERTAINTY if supported >= least), "unsure")


def classify_results(
    model: ServedModel, images: Sequence[RequestImage], outputs: Arrays, *, top: int
) -> list[dict[str, Any]]:
    """Return one JSON-ready result per image, in order.

    Args:
        model: the model that returned ``outputs``.
        images: of the request.
        outputs: of the signature over image bytes, for all images.
        top: how many of the most probable classes to return.
    """
    ok = outputs.get("ok", np.ones(len(images), bool))
    results = []
    for row, image in enumerate(images):
        error = image_error(image, ok=bool(ok[row]))
        if error is not None:
            results.append({"name": image.name, "ok": False, "error": error})
            continue
        others = {
            name: array[row].item()
            for name, array in outputs.items()
            if name not in _NAMED_OUTPUTS and array.ndim == 1 and array.dtype != object
        }
        result = _top_classes(model, outputs["probabilities"][row], top)
        if others.get("is_known") is False:
            result["certainty"] = UNKNOWN
        results.append({"name": image.name, "ok": True, **result, **others})
    return results


def _top_classes(model: ServedModel, probabilities: np.ndarray, top: int) -> dict[str, Any]:
    order = np.argsort(-probabilities, kind="stable")[:top]
    names = model.class_names
    ranked = [
        (
            names[index] if index < len(names) else str(index),
            float(str(np.float32(probabilities[index]))),
        )
        for index in order
    ]
    first, confidence = ranked[0]
    return {
        "class_name": first,
        "class_id": int(order[0]),
        "confidence": confidence,
        "certainty": certainty(confidence, model.validation_images),
        "top": [{"class_name": name, "probability": share} for name, share in ranked],
    }
