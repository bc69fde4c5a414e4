"""Panels, style and saving of all pictures."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from PIL import Image

FOLDER = Path(__file__).resolve().parent.parent / "images" / "methods"
MAX_BYTES = 100_000
BLUE, ORANGE, GREEN, RED = "#2563a8", "#d9772b", "#3a8f5c", "#b83a3a"
INK, MUTED, PALE = "#111827", "#6b7280", "#d1d5db"
_STYLE: dict[str, Any] = {
    "font.family": "DejaVu Sans",
    "font.size": 10,
    "axes.titlesize": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": MUTED,
    "figure.facecolor": "white",
    "legend.frameon": False,
}


@contextmanager
def sheet(
    name: str,
    rows: int,
    columns: int,
    size: tuple[float, float],
    *,
    projection: str | None = None,
    jpeg: bool = False,
) -> Iterator[np.ndarray]:
    """Yield the panels [rows, columns] of a picture, which is saved afterwards.

    Args:
        name: of the file, without extension.
        rows: number of rows of panels.
        columns: number of columns of panels.
        size: width and height, inches of 100 pixels.
        projection: 3d, or None for flat panels.
        jpeg: save as JPEG instead of PNG, for images with many colours.
    """
    with matplotlib.rc_context(_STYLE):
        figure = Figure(figsize=size, layout="constrained")
        yield figure.subplots(rows, columns, squeeze=False, subplot_kw={"projection": projection})
        file = io.BytesIO()
        figure.savefig(file, dpi=100)
    save_jpeg(name, file) if jpeg else save(name, file)


def save_jpeg(name: str, file: io.BytesIO) -> None:
    """Save a JPEG picture with the best quality within the maximum file size."""
    picture = Image.open(file).convert("RGB")
    for quality in range(92, 60, -4):
        small = io.BytesIO()
        picture.save(small, "JPEG", quality=quality, subsampling=0, optimize=True)
        if len(small.getvalue()) < MAX_BYTES:
            break
    FOLDER.mkdir(parents=True, exist_ok=True)
    (FOLDER / f"{name}.jpg").write_bytes(small.getvalue())


def save(name: str, file: io.BytesIO) -> None:
    """Save a PNG picture with as many colours as the maximum file size allows."""
    picture = Image.open(file).convert("RGB")
    for colours in (256, 128, 64, 32):
        small = io.BytesIO()
        reduced = picture.quantize(colours, Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE)
        reduced.save(small, "PNG", optimize=True)
        if len(small.getvalue()) < MAX_BYTES:
            break
    FOLDER.mkdir(parents=True, exist_ok=True)
    (FOLDER / f"{name}.png").write_bytes(small.getvalue())


def show(axes: Any, pixels: np.ndarray, title: str = "", **how: Any) -> None:
    """Draw an array as an image without axes."""
    rgb = pixels.ndim == 3
    axes.imshow(np.clip(pixels, 0, 255).astype(np.uint8) if rgb else pixels, **how)
    axes.set(xticks=[], yticks=[])
    axes.spines[:].set_visible(False)
    if title:
        axes.set_title(title)


def label(axes: Any, title: str, across: str, up: str) -> None:
    """Set title and axis labels of a panel of curves."""
    axes.set_title(title, loc="left", fontweight="bold")
    axes.set(xlabel=across, ylabel=up)
    axes.grid(color=PALE, linewidth=0.6)
    axes.set_axisbelow(True)


def bare(axes: Any, width: float, height: float) -> None:
    """Remove the axes of a panel and set its coordinate system."""
    axes.set(xlim=(0, width), ylim=(height, 0), aspect="equal")
    axes.axis("off")


def box(axes: Any, place: Sequence[float], text: str, colour: str) -> None:
    """Draw a box with text, given x, y of its centre, width and height."""
    x, y, width, height = place
    axes.add_patch(
        matplotlib.patches.FancyBboxPatch(
            (x - width / 2, y - height / 2), width, height, boxstyle="round,pad=0,rounding_size=.1",
            facecolor=colour, edgecolor=INK, linewidth=0.8,
        )
    )  # fmt: skip
    axes.text(x, y, text, ha="center", va="center", fontsize=9, color=INK)


def arrow(axes: Any, start: tuple[float, float], end: tuple[float, float]) -> None:
    """Draw an arrow."""
    axes.annotate("", end, start, arrowprops={"arrowstyle": "-|>", "color": INK, "lw": 1})
