"""What all pictures share: a white sheet with panels, and a small PNG file at the end."""

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
MOST_BYTES = 100_000
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
    photos: bool = False,
) -> Iterator[np.ndarray]:
    """Give the panels [rows, columns] of a picture; it is written when they are drawn.

    Args:
        name: of the file, without its ending.
        rows: of panels.
        columns: of panels.
        size: width and height, inches of 100 pixels.
        projection: 3d, or None for flat panels.
        images: whether it shows images, whose many colours no palette has: JPEG instead of PNG.
    """
    with matplotlib.rc_context(_STYLE):
        figure = Figure(figsize=size, layout="constrained")
        yield figure.subplots(rows, columns, squeeze=False, subplot_kw={"projection": projection})
        file = io.BytesIO()
        figure.savefig(file, dpi=100)
    save_photos(name, file) if photos else save(name, file)


def save_photos(name: str, file: io.BytesIO) -> None:
    """Write a JPEG picture of the best quality that its largest size allows."""
    picture = Image.open(file).convert("RGB")
    for quality in range(92, 60, -4):
        small = io.BytesIO()
        picture.save(small, "JPEG", quality=quality, subsampling=0, optimize=True)
        if len(small.getvalue()) < MOST_BYTES:
            break
    FOLDER.mkdir(parents=True, exist_ok=True)
    (FOLDER / f"{name}.jpg").write_bytes(small.getvalue())


def save(name: str, file: io.BytesIO) -> None:
    """Write a PNG picture with as many colours as its largest size allows."""
    picture = Image.open(file).convert("RGB")
    for colours in (256, 128, 64, 32):
        small = io.BytesIO()
        reduced = picture.quantize(colours, Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE)
        reduced.save(small, "PNG", optimize=True)
        if len(small.getvalue()) < MOST_BYTES:
            break
    FOLDER.mkdir(parents=True, exist_ok=True)
    (FOLDER / f"{name}.png").write_bytes(small.getvalue())


def show(axes: Any, pixels: np.ndarray, title: str = "", **how: Any) -> None:
    """Draw an array as an image without axes."""
    photo = pixels.ndim == 3
    axes.imshow(np.clip(pixels, 0, 255).astype(np.uint8) if photo else pixels, **how)
    axes.set(xticks=[], yticks=[])
    axes.spines[:].set_visible(False)
    if title:
        axes.set_title(title)


def label(axes: Any, title: str, across: str, up: str) -> None:
    """Write what a panel of curves shows."""
    axes.set_title(title, loc="left", fontweight="bold")
    axes.set(xlabel=across, ylabel=up)
    axes.grid(color=PALE, linewidth=0.6)
    axes.set_axisbelow(True)


def bare(axes: Any, width: float, height: float) -> None:
    """Make a panel a sheet of paper of this size, in units of its own."""
    axes.set(xlim=(0, width), ylim=(height, 0), aspect="equal")
    axes.axis("off")


def box(axes: Any, place: Sequence[float], text: str, colour: str) -> None:
    """Draw a box at x, y of its centre with width and height, and what stands in it."""
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
