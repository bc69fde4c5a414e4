"""The response of ``POST /v1/explain``: an image in, the image with a heat map out."""

from __future__ import annotations

import io
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from tltool.data.decoding.decode_spec import DecodeSpec
from tltool.data.decoding.transcode import on_white, open_as_decoded
from tltool.errors import some_of
from tltool.evaluation.explain.overlay import overlay
from tltool.serving.api_errors import ApiError, bad_request
from tltool.serving.json_values import Arrays
from tltool.serving.requests import PredictRequest
from tltool.serving.served_model import CLASS_INPUT, IMAGE_INPUT, ServedModel, bytes_array

MAX_SIDE = 1024  # pixels of the picture
_MAX_LISTED = 40  # classes in a message


def prepare_explain(
    model: ServedModel, class_name: str | None
) -> tuple[Callable[[bytes], PredictRequest], DecodeSpec]:
    """Return a function that makes the explain request for an image, and the model's decode spec.

    Args:
        model: the served model.
        class_name: the class to explain; None for the predicted class.

    Raises:
        ApiError: the model cannot explain, or has no such class.
    """
    signature = model.explain_signature if class_name is None else model.explain_class_signature
    if signature is None or model.decode is None:
        raise ApiError(501, f"This model cannot be explained: {model.why_not_explained}")
    inputs: Arrays = {}
    if class_name is not None:
        if class_name not in model.class_names:
            names = some_of(model.class_names, _MAX_LISTED)
            raise bad_request(f"No such class; the classes are {names}")
        inputs[CLASS_INPUT] = np.array([model.class_names.index(class_name)], np.int64)

    def make_request(content: bytes) -> PredictRequest:
        return PredictRequest(
            signature, {IMAGE_INPUT: bytes_array([content]), **inputs}, 1, by_row=False
        )

    return make_request, model.decode


def draw_heat_map(content: bytes, heat_map: NDArray[np.float32], spec: DecodeSpec) -> bytes:
    """Return a PNG of the image in grey with the heat map in colour over it.

    Args:
        content: of the image file, which the model has decoded.
        heat_map: float32 [h, w] in 0…1, a grid over the model's input.
        spec: how the image became that input.

    Raises:
        ApiError: the image cannot be drawn.
    """
    try:
        with open_as_decoded(content) as image:
            image.draft("RGB", (MAX_SIDE, MAX_SIDE))  # decodes a large JPEG at a smaller size
            upright = on_white(ImageOps.exif_transpose(image)).convert("RGB")
    except Exception:  # Pillow raises errors of any type
        raise ApiError(400, "The image cannot be drawn") from None
    upright.thumbnail((MAX_SIDE, MAX_SIDE))
    drawn = overlay(np.asarray(upright), heat_map, spec)
    buffer = io.BytesIO()
    Image.fromarray(drawn).save(buffer, "PNG")
    return buffer.getvalue()
