"""A photo in, a picture out: the answer of ``POST /v1/explain``."""

from __future__ import annotations

import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from tltool.data.decode import DecodeSpec
from tltool.data.transcode import open_image
from tltool.evaluation.overlay import overlay
from tltool.serving.problems import ApiError

LARGEST_SIDE = 1024  # pixels of the picture


def picture(content: bytes, heat: NDArray[np.float32], spec: DecodeSpec) -> bytes:
    """Return a PNG of the photo in grey with the heat map in colour over it.

    Args:
        content: of the photo's file; the model has decoded it.
        heat: float32 [h, w] in 0…1, a grid over the model's input.
        spec: how the photo became that input.

    Raises:
        ApiError: the photo cannot be drawn.
    """
    try:
        with open_image(io.BytesIO(content)) as image:
            image.draft("RGB", (LARGEST_SIDE, LARGEST_SIDE))  # a large JPEG is read smaller
            upright = ImageOps.exif_transpose(image).convert("RGB")
    except Exception:  # Pillow raises whatever it likes
        raise ApiError(400, "The photo cannot be drawn") from None
    upright.thumbnail((LARGEST_SIDE, LARGEST_SIDE))
    drawn = overlay(np.asarray(upright), heat, spec)
    buffer = io.BytesIO()
    Image.fromarray(drawn).save(buffer, "PNG")
    return buffer.getvalue()
