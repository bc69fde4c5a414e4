"""Images that a Python program holds as arrays, as the bytes of PNG files."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
from PIL import Image

from tltool.errors import DataError


def png_bytes(image: Any, *, where: str) -> bytes:
    r"""Return the bytes of a PNG file with the pixels of an image.

    Args:
        image: [H, W], [H, W, 1] or [H, W, 3]: integers in 0..255, or floats in 0..255, which are
            rounded; an array or a tensor.
        where: names the image in messages.

    Raises:
        DataError: it has another shape or range. Floats of at most 1 are refused, since pixels of
            0..1 would give an almost black image.

    Examples:
        >>> png_bytes(np.zeros((2, 2, 3), "uint8"), where="image 0")[:4]
        b'\x89PNG'
    """
    pixels = np.asarray(image)
    shape = " x ".join(map(str, pixels.shape))
    if pixels.ndim == 3 and pixels.shape[-1] == 1:
        pixels = pixels[..., 0]
    if pixels.ndim not in (2, 3) or pixels.shape[2:] not in ((), (3,)) or not pixels.size:
        raise DataError(
            f"{where} has the shape {shape or 'of a single number'}",
            hint="an image is height x width x 3 (RGB), or height x width (greyscale)",
        )
    buffer = io.BytesIO()
    Image.fromarray(_as_uint8(pixels, where)).save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()


def _as_uint8(pixels: np.ndarray, where: str) -> np.ndarray:
    if pixels.dtype == np.uint8:
        return pixels
    if pixels.dtype.kind not in "iuf":
        raise DataError(
            f"{where} has values of type {pixels.dtype}", hint="pixels are numbers from 0 to 255"
        )
    low, high = float(pixels.min()), float(pixels.max())
    if not (low >= 0 and high <= 255):
        raise DataError(
            f"{where} has values from {low:g} to {high:g}",
            hint="give pixels from 0 to 255, before any preprocessing: the network does its own",
        )
    if pixels.dtype.kind == "f" and high <= 1:
        raise DataError(
            f"{where} has values from {low:g} to {high:g}, and pixels are from 0 to 255",
            hint="multiply pixels of 0 to 1 by 255",
        )
    rounded: np.ndarray = np.rint(pixels).astype(np.uint8)
    return rounded
