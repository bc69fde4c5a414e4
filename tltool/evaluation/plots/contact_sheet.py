"""A contact sheet of augmented images: a row per image, a column per augmentation.

Importing Matplotlib takes 1 s, so it is imported inside functions.
"""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tltool.evaluation.plots.style import MUTED, figure_style

_SIDE, _GAP, _MARGIN = 168, 8, 20  # pixels
_CAPTION, _HEAD, _TITLE, _BAND = 22, 26, 30, 18
_LINE = 17  # of the subtitle
_LEAST_COLUMNS = 3  # of the width of the sheet, to leave room for the title
_LETTER = 6.9  # width of a letter of the subtitle in pixels
_MOST_COLUMNS = 9  # per band; more continue in another band below
_DPI = 100
_LETTERS = 29  # of a caption that fit below one image


@dataclass(frozen=True)
class Column:
    """One augmentation of the images.

    Attributes:
        name: heading of the column.
        images: uint8 [N, S, S, 3].
        captions: text below each image; may be empty.
    """

    name: str
    images: NDArray[np.uint8]
    captions: Sequence[str]


def draw_sheet(
    path: Path, first: Column, others: Sequence[Column], *, title: str, subtitle: str
) -> None:
    """Draw a PNG file; many columns are split into bands, each starting with the first column.

    Args:
        path: the file; replaced if it exists.
        first: the original images.
        others: the same images, augmented.
        title: heading of the sheet.
        subtitle: text below the title; wrapped.

    Raises:
        OSError: the file cannot be written.
    """
    from matplotlib.figure import Figure

    # bands of about the same width
    per_band = max(1, -(-len(others) // max(1, -(-len(others) // (_MOST_COLUMNS - 1)))))
    bands = [[first, *others[at : at + per_band]] for at in range(0, len(others), per_band)]
    bands = bands or [[first]]
    rows = len(first.images)
    columns = max(_LEAST_COLUMNS, *map(len, bands))
    inside = columns * (_SIDE + _GAP) - _GAP
    lines = textwrap.wrap(subtitle, int(inside / _LETTER))
    width, top = 2 * _MARGIN + inside, _TITLE + _LINE * (len(lines) + 1)
    band_height = _HEAD + rows * (_SIDE + _CAPTION) + _BAND
    height = top + len(bands) * band_height + _MARGIN - _BAND
    with figure_style():
        figure = Figure(figsize=(width / _DPI, height / _DPI), dpi=_DPI, facecolor="white")
        _write(figure, title, _MARGIN, 28, size=13, weight="bold")
        for number, text in enumerate(lines, start=1):
            _write(figure, text, _MARGIN, _TITLE + _LINE * number, size=9, color=MUTED)
        for number, band in enumerate(bands):
            for position, column in enumerate(band):
                left = _MARGIN + position * (_SIDE + _GAP)
                _draw_column(figure, column, left, top + number * band_height)
        figure.savefig(path, dpi=_DPI, format="png")


def _draw_column(figure: object, column: Column, left: int, top: int) -> None:
    _write(figure, column.name, left, top + _HEAD - 8, size=9.5, weight="bold")
    for row, (image, caption) in enumerate(zip(column.images, column.captions, strict=True)):
        upper = top + _HEAD + row * (_SIDE + _CAPTION)
        _draw_image(figure, image, left, upper)
        _write(figure, _short(caption), left, upper + _SIDE + 14, size=7.2, color="#374151")


def _draw_image(figure: object, image: NDArray[np.uint8], left: int, top: int) -> None:
    width, height = _size(figure)
    box = (left / width, 1 - (top + _SIDE) / height, _SIDE / width, _SIDE / height)
    axes = figure.add_axes(box)  # type: ignore[attr-defined]
    axes.imshow(image, interpolation="antialiased")
    axes.set_axis_off()


def _write(figure: object, text: str, left: int, baseline: int, **style: object) -> None:
    width, height = _size(figure)
    figure.text(left / width, 1 - baseline / height, text, **style)  # type: ignore[attr-defined]


def _size(figure: object) -> tuple[float, float]:
    wide, high = figure.get_size_inches()  # type: ignore[attr-defined]
    return wide * _DPI, high * _DPI


def _short(caption: str) -> str:
    return caption if len(caption) <= _LETTERS else f"{caption[: _LETTERS - 1]}…"
