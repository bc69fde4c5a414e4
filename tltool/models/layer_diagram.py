"""Diagram of a network as PNG: feature maps as slabs, their thickness shows the channels."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import IO, Any

from tltool.models.layer_folds import Fold

_INK, _MUTED = "#111827", "#6b7280"
_COLOURS = {
    "image": "#d1d5db",
    "convolution": "#7ea6d3",
    "residual blocks": "#4f7fb5",
    "pooling": "#e8a46c",
    "normalisation": "#b9a3d0",
    "dense": "#8fbf9a",
}
_TALLEST, _GAP, _CAPTION = 2.2, 0.3, 1.02  # inches; the last is the minimum width of a caption
_TITLE, _CAPTIONS, _ROW = (
    1.0,
    1.65,
    4.8,
)  # inches: above all rows, below the slabs of a row, per row
_PER_ROW = 14
_SCALE = "not to scale: height ~ square root of a map's side, thickness ~ logarithm of its channels"


@dataclass(frozen=True, slots=True)
class _Slab:
    kind: str
    output: tuple[int, ...]
    caption: tuple[str, ...]
    stage: str
    share: float

    @property
    def height(self) -> float:
        """Inches; by the square root of the side relative to the image's."""
        if len(self.output) == 1:
            return 0.35 + 0.4 * math.log10(self.output[0])
        return max(0.2, _TALLEST * math.sqrt(self.share))

    @property
    def thickness(self) -> float:
        """Inches; by the logarithm of the channels."""
        return 0.12 if len(self.output) == 1 else 0.05 * math.log2(self.output[-1]) + 0.04

    @property
    def depth(self) -> float:
        """Inches by which the rear face is displaced up and to the right."""
        return 0.06 if len(self.output) == 1 else 0.3 * self.height

    @property
    def width(self) -> float:
        """Inches, including the caption and the gap to the next slab."""
        return max(self.thickness + self.depth, _CAPTION) + _GAP


def draw_layers(
    file: IO[bytes], folds: Sequence[Fold], *, title: str, image: tuple[int, int, int]
) -> None:
    """Draw the lines of the short table from the image to the classes, as PNG.

    Height grows with the square root of a map's side, thickness with the logarithm of its channels.

    Args:
        file: open for writing.
        folds: lines of the short table, from ``fold_rows``.
        title: text above the diagram.
        image: height, width and channels of the input of the first layer.
    """
    from matplotlib import style
    from matplotlib.figure import Figure

    first = _Slab("image", image, ("image", _shape(image)), "", 1.0)
    rows = _in_rows([first, *(_slab(fold, image[0]) for fold in folds)])
    width = max(sum(slab.width for slab in row) for row in rows) + 0.4
    height = _TITLE + len(rows) * _ROW
    own = {"font.family": "DejaVu Sans", "text.parse_math": False}
    with style.context(["default", own]):  # not the settings of a matplotlibrc file
        figure = Figure(figsize=(width, height))
        axes = figure.add_axes((0, 0, 1, 1))
        axes.set(xlim=(0, width), ylim=(0, height))
        axes.axis("off")
        axes.text(0.3, height - 0.32, title, fontsize=12, weight="bold", color=_INK, va="center")
        _explain_colours(axes, [slab.kind for row in rows for slab in row])
        axes.text(0.3, height - 0.86, _SCALE, fontsize=8, color=_MUTED, va="center")
        for number, row in enumerate(rows, start=1):
            _draw_row(axes, row, height - _TITLE - number * _ROW)
        figure.savefig(file, format="png", dpi=120)


def _in_rows(slabs: Sequence[_Slab]) -> list[list[_Slab]]:
    """Divide the slabs into rows of similar length, each beginning with a stage."""
    count = math.ceil(len(slabs) / _PER_ROW)
    rows: list[list[_Slab]] = [[]]
    for slab in slabs:
        row = rows[-1]
        if len(row) >= math.ceil(len(slabs) / count) - 1 and row[-1].stage != slab.stage:
            rows.append([])
        rows[-1].append(slab)
    return rows


def _slab(fold: Fold, image: int) -> _Slab:
    lines = [fold.label, _shape(fold.output)]
    lines.append(f"{fold.blocks} x ({fold.windows})" if fold.blocks > 1 else fold.windows)
    lines.append(f"{_short(fold.parameters)} parameters" if fold.parameters else "")
    lines.append(f"field {fold.receptive_field} px" if len(fold.output) > 1 else "")
    return _Slab(_kind(fold), fold.output, tuple(lines), fold.stage, fold.output[0] / image)


def _kind(fold: Fold) -> str:
    if fold.kind in ("Dense", "Flatten"):
        return "dense"
    if fold.kind == "Block":
        return "residual blocks"
    if "Normalization" in fold.kind:
        return "normalisation"
    return "pooling" if "Pooling" in fold.kind else "convolution"


def _draw_row(axes: Any, row: Sequence[_Slab], low: float) -> None:
    """Draw one row above ``low``, with a bracket and a name below the slabs of each stage."""
    left = start = 0.2
    for slab, after in zip(row, [*row[1:], None], strict=True):
        _draw(axes, slab, left + slab.width / 2, low + _CAPTIONS)
        left += slab.width
        if after is None or after.stage != slab.stage:
            if slab.stage:
                _name_stage(axes, slab.stage, start + 0.1, left - 0.1, low + 0.45)
            start = left


def _name_stage(axes: Any, stage: str, left: float, right: float, y: float) -> None:
    axes.plot([left, right], [y, y], color=_MUTED, linewidth=1)
    middle = (left + right) / 2
    axes.text(middle, y - 0.17, stage, fontsize=9, color=_INK, ha="center", va="center")


def _draw(axes: Any, slab: _Slab, middle: float, base: float) -> None:
    from matplotlib.colors import to_rgb
    from matplotlib.patches import Polygon

    depth = slab.depth
    left = middle - (slab.thickness + depth) / 2
    low = base + (_TALLEST * 1.3 - slab.height - depth) / 2
    right, top = left + slab.thickness, low + slab.height
    far, above, behind = right + depth, top + depth, low + depth
    faces = (
        (1.0, ((left, low), (right, low), (right, top), (left, top))),
        (1.15, ((left, top), (right, top), (far, above), (left + depth, above))),
        (0.8, ((right, low), (far, behind), (far, above), (right, top))),
    )
    for light, corners in faces:
        face = tuple(min(1.0, part * light) for part in to_rgb(_COLOURS[slab.kind]))
        axes.add_patch(Polygon(corners, facecolor=face, edgecolor="white", linewidth=0.7))
    for number, line in enumerate(slab.caption):
        weight, ink = ("bold", _INK) if number == 0 else ("normal", _MUTED)
        place = (middle, base - 0.2 - 0.2 * number)
        axes.text(*place, line, fontsize=7.5, weight=weight, color=ink, ha="center", va="center")


def _explain_colours(axes: Any, kinds: Sequence[str]) -> None:
    from matplotlib.patches import Patch

    patches = [Patch(color=_COLOURS[kind], label=kind) for kind in _COLOURS if kind in kinds]
    right, top = axes.get_xlim()[1], axes.get_ylim()[1]
    axes.legend(
        handles=patches,
        loc="upper left",
        bbox_to_anchor=(0.24 / right, 1 - 0.45 / top),
        ncols=len(patches),
        frameon=False,
        fontsize=8,
        handlelength=1.2,
        columnspacing=1.4,
    )


def _shape(output: tuple[int, ...]) -> str:
    return "x".join(str(side) for side in output)


def _short(number: int) -> str:
    """Return a count to three digits."""
    for unit, size in (("M", 1e6), ("k", 1e3)):
        if number >= size:
            return f"{number / size:.3g} {unit}"
    return str(number)
