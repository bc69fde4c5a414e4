"""Images in, classes out: the answer of ``POST /v1/classify``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tltool.serving.input_images import RequestImage, explained
from tltool.serving.requests import Arrays
from tltool.serving.served_model import ServedModel

UNKNOWN = "unknown"
_TOLD = {"class_name", "class_id", "confidence", "probabilities", "ok"}
_CERTAINTY = (
    (0.99, "almost certain"),
    (0.9, "very likely"),
    (0.7, "likely"),
    (0.5, "more likely than not"),
)


def certainty(confidence: float) -> str:
    """Return a probability in words."""
    return next((words for least, words in _CERTAINTY if confidence >= least), "unsure")


def results(
    model: ServedModel, photos: Sequence[RequestImage], outputs: Arrays, *, top: int
) -> list[dict[str, Any]]:
    """Return one JSON-ready result per image, in order.

    Args:
        model: that answered.
        images: of the request.
        outputs: of the signature over image bytes, for all of them.
        top: how many classes to name.
    """
    ok = outputs.get("ok", np.ones(len(photos), bool))
    found = []
    for row, photo in enumerate(photos):
        problem = explained(photo, bool(ok[row]))
        if problem is not None:
            found.append({"name": photo.name, "ok": False, "error": problem})
            continue
        others = {
            name: array[row].item()
            for name, array in outputs.items()
            if name not in _TOLD and array.ndim == 1 and array.dtype != object
        }
        answer = _answer(model, outputs["probabilities"][row], top)
        if others.get("is_known") is False:
            answer["certainty"] = UNKNOWN
        found.append({"name": photo.name, "ok": True, **answer, **others})
    return found


def _answer(model: ServedModel, probabilities: np.ndarray, top: int) -> dict[str, Any]:
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
