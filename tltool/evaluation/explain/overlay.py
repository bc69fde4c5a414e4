"""Heat maps drawn onto images, and the picture of both side by side.

Matplotlib costs 1 s, so functions import it.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from tltool.data.decoding.decode_spec import DecodeSpec
from tltool.evaluation.explain.placement import place
from tltool.evaluation.plots.plots import figure_style

Floats = NDArray[np.float32]

COLOURS = "inferno"  # even steps of brightness, so that print and colour blindness keep them
_STRENGTH = (0.35, 0.65)  # of the colour against the grey image, where the map is 0 and 1
_SMALL = 220  # pixels; a smaller image is shown enlarged by a whole factor
_GAP, _MARGIN = 12, 12  # pixels
_WIDE = 3  # times as wide as high
_STRIPE = 8  # width in pixels of the stripes over what the network does not see
_DPI = 100


def overlay(
    photo: NDArray[np.uint8], heat: NDArray[np.float32], spec: DecodeSpec
) -> NDArray[np.uint8]:
    """Return an image in grey with the heat map in colour over it, at the image's own size.

    Args:
        image: upright RGB, uint8 [H, W, 3]; a smaller copy of the image will do.
        heat: float32 [h, w] in 0…1, as ``heat_maps`` gives it.
        spec: how the image became the network's input.

    Returns:
        uint8 [H, W, 3]. What the network does not see is striped.
    """
    height, width = photo.shape[:2]
    placed = place(heat, spec, width=width, height=height)
    grey = photo @ np.array([0.299, 0.587, 0.114], np.float32)
    shown: Floats = np.repeat(grey[..., np.newaxis], 3, axis=2)
    seen = ~np.isnan(placed)
    here = placed[seen]
    share = (_STRENGTH[0] + (_STRENGTH[1] - _STRENGTH[0]) * here)[:, np.newaxis]
    colours = _palette()[(here * 255).astype(np.uint8)]
    shown[seen] = (1 - share) * shown[seen] + share * colours
    if not seen.all():
        shown[~seen] = _striped(shown, np.flatnonzero(~seen.ravel()))
    return shown.round().astype(np.uint8)


def side_by_side(
    photo: NDArray[np.uint8],
    heat: NDArray[np.float32],
    spec: DecodeSpec,
    *,
    title: str,
    subtitle: str,
) -> Image.Image:
    """Return the image beside its overlay, both at the image's own size, with words and a scale.

    An image under 220 pixels is enlarged by a whole factor, pixel for pixel. An image over three
    times as wide as high lies above its overlay.

    Args:
        image: upright RGB, uint8 [H, W, 3].
        heat: float32 [h, w] in 0…1.
        spec: how the image became the network's input.
        title: the answer.
        subtitle: what is explained, and how.
    """
    factor = max(1, -(-_SMALL // max(photo.shape[:2])))
    photo = photo.repeat(factor, axis=0).repeat(factor, axis=1)
    height, width = photo.shape[:2]
    whole = place(heat, spec, width=width, height=height)
    drawn = overlay(photo, heat, spec)
    right, down = (0, height + _GAP) if width > _WIDE * height else (width + _GAP, 0)
    total = max(width + right, 2 * _SMALL) + 2 * _MARGIN
    head = _words(total, [(title, True), (subtitle, False)])
    foot = _scale(total, striped=bool(np.isnan(whole).any()))
    bottom = head.height + height + down
    canvas = Image.new("RGB", (total, bottom + foot.height), "white")
    canvas.paste(head, (0, 0))
    canvas.paste(Image.fromarray(photo), (_MARGIN, head.height))
    canvas.paste(Image.fromarray(drawn), (_MARGIN + right, head.height + down))
    canvas.paste(foot, (0, bottom))
    return canvas


@functools.cache
def _palette() -> NDArray[np.float32]:
    """Return the colours of 0…1 in 256 steps, float32 [256, 3] in 0…255."""
    from matplotlib import colormaps

    return np.asarray(colormaps[COLOURS](np.arange(256))[:, :3] * 255, np.float32)


def _striped(shown: Floats, places: NDArray[np.int64]) -> Floats:
    """Return the pixels at flat ``places`` paled, with diagonal stripes."""
    rows, columns = np.divmod(places, shown.shape[1])
    light = ((rows + columns) // _STRIPE) % 2
    pale = shown.reshape(-1, 3)[places] * 0.35
    return pale + np.where(light == 0, 130.0, 165.0)[:, np.newaxis]


def _font_size(total: int) -> float:
    """Return the size of letters in pixels that can be read when the picture fits a screen."""
    return float(np.clip(total / 60, 13, 48))


def _words(total: int, given: Sequence[tuple[str, bool]]) -> Image.Image:
    """Return lines of text, bold or not, as a strip ``total`` pixels wide.

    Matplotlib fails on bytes of file names that are not UTF-8, and breaks lines where they do.
    """
    lines = [("".join(c if c.isprintable() else "�" for c in text), bold) for text, bold in given]
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

    return _drawn(total, round(size * 1.45 * len(lines) + _MARGIN), draw)


def _shorten(label: Any, text: str, room: float) -> None:
    """Cut the middle of a text that is wider than ``room`` pixels."""
    while label.get_window_extent().width > room and len(text) > 8:
        middle = len(text) // 2
        text = text[: middle - 2] + text[middle + 2 :]
        label.set_text(f"{text[: len(text) // 2]}…{text[len(text) // 2 :]}")


def _scale(total: int, *, striped: bool) -> Image.Image:
    """Return the colour scale as a strip ``total`` pixels wide, at its right."""
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
        most = figure.text(right, half, "most", ha="right", **style)
        edge = most.get_window_extent().x0 / total - 0.4 * size / total
        box = figure.add_axes((edge - bar, half - size * 0.4 / height, bar, size * 0.8 / height))
        box.imshow(np.linspace(0, 1, 256)[np.newaxis], cmap=COLOURS, aspect="auto")
        box.set_axis_off()
        figure.text(edge - bar - 0.4 * size / total, half, "no evidence", ha="right", **style)
        if striped:
            figure.text(_MARGIN / total, half, "striped: not seen by the model", **style)

    return _drawn(total, height, draw)


def _drawn(width: int, height: int, draw: Any) -> Image.Image:
    """Return what ``draw`` makes of an empty figure of that many pixels."""
    with figure_style():
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure

        figure = Figure(figsize=(width / _DPI, height / _DPI), dpi=_DPI, facecolor="white")
        canvas = FigureCanvasAgg(figure)
        draw(figure)
        canvas.draw()
        pixels = np.asarray(canvas.buffer_rgba())[..., :3]
    return Image.fromarray(np.ascontiguousarray(pixels))
