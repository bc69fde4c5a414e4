"""An image in, a picture out: the answer of ``POST /v1/explain``."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from tltool.data.decoding.decode_spec import DecodeSpec
from tltool.data.decoding.transcode import open_image
from tltool.evaluation.explain.overlay import overlay
from tltool.serving.api_errors import ApiError, bad_request
from tltool.serving.requests import Arrays, Question
from tltool.serving.served_model import CLASS_INPUT, IMAGE_INPUT, ServedModel, images_array

LARGEST_SIDE = 1024  # pixels of the picture
_NAMED = 40  # classes in a message


def explaining(
    model: ServedModel, class_name: str | None
) -> tuple[Callable[[bytes], Question], DecodeSpec]:
    """Return what asks the model where an image speaks for a class, and how it decodes images.

    Args:
        model: that is asked.
        class_name: one of its classes; None for the one that it names.

    Raises:
        ApiError: the model cannot tell, or has no such class.
    """
    signature = model.explains if class_name is None else model.explains_classes
    if signature is None or model.decode is None:
        raise ApiError(501, "This model cannot show what it looks at: export it again")
    inputs: Arrays = {}
    if class_name is not None:
        if class_name not in model.class_names:
            raise bad_request(f"The model knows no such class; it knows {_some(model.class_names)}")
        inputs[CLASS_INPUT] = np.array([model.class_names.index(class_name)], np.int64)

    def question(content: bytes) -> Question:
        return Question(
            signature, {IMAGE_INPUT: images_array([content]), **inputs}, 1, by_row=False
        )

    return question, model.decode


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + more


def picture(content: bytes, heat: NDArray[np.float32], spec: DecodeSpec) -> bytes:
    """Return a PNG of the image in grey with the heat map in colour over it.

    Args:
        content: of the image's file; the model has decoded it.
        heat: float32 [h, w] in 0…1, a grid over the model's input.
        spec: how the image became that input.

    Raises:
        ApiError: the image cannot be drawn.
    """
    try:
        with open_image(io.BytesIO(content)) as image:
            image.draft("RGB", (LARGEST_SIDE, LARGEST_SIDE))  # a large JPEG is read smaller
            upright = ImageOps.exif_transpose(image).convert("RGB")
    except Exception:  # Pillow raises whatever it likes
        raise ApiError(400, "The image cannot be drawn") from None
    upright.thumbnail((LARGEST_SIDE, LARGEST_SIDE))
    drawn = overlay(np.asarray(upright), heat, spec)
    buffer = io.BytesIO()
    Image.fromarray(drawn).save(buffer, "PNG")
    return buffer.getvalue()
