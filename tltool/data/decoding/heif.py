"""HEIC and AVIF images, which not every installation can read."""

from __future__ import annotations

import functools

FORMAT = "HEIF"
AVIF = "AVIF"
"""Pillow's names of the formats."""


@functools.cache
def can_open_avif() -> bool:
    """Return whether this Pillow was built with AVIF, as those from 11.3 on are."""
    from PIL import Image, features

    Image.init()
    return AVIF in Image.OPEN and bool(features.check("avif"))


@functools.cache
def register() -> bool:
    """Let Pillow open HEIC images; return whether pillow-heif is installed."""
    try:
        from pillow_heif import register_heif_opener
    except ImportError:
        return False
    register_heif_opener()
    return True
