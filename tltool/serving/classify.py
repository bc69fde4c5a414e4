"""The response of ``POST /v1/classify``: images in, classes out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tltool.serving.input_images import RequestImage, image_error
from tltool.serving.requests import Arrays
from tltool.serving.served_model import ServedModel

UNKNOWN = "unknown"
_NAMED_OUTPUTS = {"class_name", "class_id", "confidence", "probabilities", "ok"}
_CERTAINTY = (
    (0.99, "almost certain"),
    (0.9, "very likely"),
    (0.7, "likely"),
    (0.5, "more likely than not"),
)


def certainty(confidence: float) -> str:
    """Return a probability in words."""
    return next((words for least, words in _CERTAINTY if confidence >= least), "unsure")


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
        "certainty": certainty(confidence),
        "top": [{"class_name": name, "probability": share} for name, share in ranked],
    }
