"""Draws a heat map over an image, and the image beside that overlay.

Importing Matplotlib takes 1 s, so it is imported inside functions.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from tltool.data.decoding.decode_spec import DecodeSpec
from tltool.evaluation.explain.heat_map_placement import place_heat_map
from tltool.evaluation.plots.style import figure_style

Floats = NDArray[np.float32]

COLOURS = "inferno"  # perceptually uniform: legible in grey print and with colour blindness
_OPACITY = (0.35, 0.65)  # of the colour over the grey image, where the map is 0 and 1
_SMALL = 220  # pixels; a smaller image is enlarged by an integer factor
_GAP, _MARGIN = 12, 12  # pixels
_WIDE = 3  # width / height above which the overlay goes below the image
_STRIPE = 8  # width in pixels of the stripes over the parts that the network does not see
_DPI = 100


def overlay(
    image: NDArray[np.uint8], heat_map: NDArray[np.float32], spec: DecodeSpec
) -> NDArray[np.uint8]:
    """Return the image in grey with the heat map in colour over it, at the size of the image.

    Args:
        image: upright RGB, uint8 [H, W, 3]; a thumbnail works too.
        heat_map: float32 [h, w] in 0…1, as ``heat_maps`` returns it.
        spec: how the image is decoded into the network's input.

    Returns:
        uint8 [H, W, 3]. Parts that the network does not see are striped.
    """
    height, width = image.shape[:2]
    placed = place_heat_map(heat_map, spec, width=width, height=height)
    grey = image @ np.array([0.299, 0.587, 0.114], np.float32)
    shown: Floats = np.repeat(grey[..., np.newaxis], 3, axis=2)
    visible = ~np.isnan(placed)
    values = placed[visible]
    opacity = (_OPACITY[0] + (_OPACITY[1] - _OPACITY[0]) * values)[:, np.newaxis]
    colours = _palette()[(values * 255).astype(np.uint8)]
    shown[visible] = (1 - opacity) * shown[visible] + opacity * colours
    if not visible.all():
        shown[~visible] = _striped(shown, np.flatnonzero(~visible.ravel()))
    return shown.round().astype(np.uint8)


def side_by_side(
    image: NDArray[np.uint8],
    heat_map: NDArray[np.float32],
    spec: DecodeSpec,
    *,
    title: str,
    subtitle: str,
) -> Image.Image:
    """Return the image beside its overlay, both at the size of the image, with text and a scale.

    An image under 220 pixels is enlarged by an integer factor, without interpolation. If it is more
    than three times as wide as high, the overlay goes below the image.

    Args:
        image: upright RGB, uint8 [H, W, 3].
        heat_map: float32 [h, w] in 0…1.
        spec: how the image is decoded into the network's input.
        title: the prediction.
        subtitle: the class explained, and the method.
    """
    factor = max(1, -(-_SMALL // max(image.shape[:2])))
    image = image.repeat(factor, axis=0).repeat(factor, axis=1)
    height, width = image.shape[:2]
    placed = place_heat_map(heat_map, spec, width=width, height=height)
    drawn = overlay(image, heat_map, spec)
    right, down = (0, height + _GAP) if width > _WIDE * height else (width + _GAP, 0)
    total = max(width + right, 2 * _SMALL) + 2 * _MARGIN
    head = _text_lines(total, [(title, True), (subtitle, False)])
    foot = _scale(total, striped=bool(np.isnan(placed).any()))
    bottom = head.height + height + down
    canvas = Image.new("RGB", (total, bottom + foot.height), "white")
    canvas.paste(head, (0, 0))
    canvas.paste(Image.fromarray(image), (_MARGIN, head.height))
    canvas.paste(Image.fromarray(drawn), (_MARGIN + right, head.height + down))
    canvas.paste(foot, (0, bottom))
    return canvas


@functools.cache
def _palette() -> NDArray[np.float32]:
    """Return the colour map in 256 steps, float32 [256, 3] in 0…255."""
    from matplotlib import colormaps

    return np.asarray(colormaps[COLOURS](np.arange(256))[:, :3] * 255, np.float32)


def _striped(shown: Floats, positions: NDArray[np.int64]) -> Floats:
    """Return the pixels at flat ``positions`` dimmed, with diagonal stripes."""
    rows, columns = np.divmod(positions, shown.shape[1])
    light = ((rows + columns) // _STRIPE) % 2
    dimmed = shown.reshape(-1, 3)[positions] * 0.35
    return dimmed + np.where(light == 0, 130.0, 165.0)[:, np.newaxis]


def _font_size(total: int) -> float:
    """Return a font size in pixels that is legible when the picture is scaled to a screen."""
    return float(np.clip(total / 60, 13, 48))


def _text_lines(total: int, texts: Sequence[tuple[str, bool]]) -> Image.Image:
    """Return lines of text, bold or not, as a strip ``total`` pixels wide.

    Characters that are not printable are replaced: Matplotlib fails on bytes of file names that are
    not UTF-8, and would break lines.
    """
    lines = [("".join(c if c.isprintable() else "�" for c in text), bold) for text, bold in texts]
    size = _font_size(total)
    room = total - 2 * _MARGIN

    def draw(figure: Any) -> None:
        for number, (text, bold) in enumerate(lines):
            down = _MARGIN / 2 + size * (0.3 + 1.45 * number)
            label = figure.text(
                _MARGIN / total,
                1 - down / figure.bbox.height,
                text,
                fontsize=size * 72 / _DPI,
                weight="bold" if bold else "normal",
                color="#111827",
                va="top",
            )
            _shorten(label, text, room)

    return _render(total, round(size * 1.45 * len(lines) + _MARGIN), draw)


def _shorten(label: Any, text: str, room: float) -> None:
    """Cut out the middle of a text that is wider than ``room`` pixels."""
    while label.get_window_extent().width > room and len(text) > 8:
        middle = len(text) // 2
        text = text[: middle - 2] + text[middle + 2 :]
        label.set_text(f"{text[: len(text) // 2]}…{text[len(text) // 2 :]}")


def _scale(total: int, *, striped: bool) -> Image.Image:
    """Return the colour scale, right-aligned in a strip ``total`` pixels wide."""
    size = _font_size(total)
    height = round(size * 2 + _MARGIN)

    def draw(figure: Any) -> None:
        style: dict[str, Any] = {
            "fontsize": size * 72 / _DPI * 0.9,
            "color": "#374151",
            "va": "center",
        }
        half = 1 - (_MARGIN / 2 + size * 0.9) / height
        right, bar = 1 - _MARGIN / total, min(0.28, 320 / total)
        high = figure.text(right, half, "strong evidence", ha="right", **style)
        edge = high.get_window_extent().x0 / total - 0.4 * size / total
        box = figure.add_axes((edge - bar, half - size * 0.4 / height, bar, size * 0.8 / height))
        box.imshow(np.linspace(0, 1, 256)[np.newaxis], cmap=COLOURS, aspect="auto")
        box.set_axis_off()
        figure.text(edge - bar - 0.4 * size / total, half, "no evidence", ha="right", **style)
        if striped:
            figure.text(_MARGIN / total, half, "striped: not seen by the model", **style)

    return _render(total, height, draw)


def _render(width: int, height: int, draw: Any) -> Image.Image:
    """Return what ``draw`` draws on an empty figure of that size in pixels."""
    with figure_style():
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure

        figure = Figure(figsize=(width / _DPI, height / _DPI), dpi=_DPI, facecolor="white")
        canvas = FigureCanvasAgg(figure)
        draw(figure)
        canvas.draw()  # type: ignore[no-untyped-call]
        pixels = np.asarray(canvas.buffer_rgba())[..., :3]  # type: ignore[no-untyped-call]
    return Image.fromarray(np.ascontiguousarray(pixels))
