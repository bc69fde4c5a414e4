"""Colours, fonts and style of all plots; importing Matplotlib takes 1 s, so it is done lazily."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

ACCENT, MUTED, GRID, WARM = "#1f5fa8", "#6b7280", "#e5e7eb", "#c2570c"
THIRD = "#3f7d58"
# Matplotlib ships DejaVu only; the first of these that is installed draws what DejaVu cannot.
WIDE_FONTS = (
    "Noto Sans CJK SC",
    "Noto Sans CJK JP",
    "Source Han Sans SC",
    "WenQuanYi Zen Hei",
    "Microsoft YaHei",
    "PingFang SC",
    "Hiragino Sans",
    "Arial Unicode MS",
    "Unifont",
)


@contextmanager
def figure_style() -> Iterator[None]:
    """Set fonts and colours, and suppress Matplotlib's warnings about missing glyphs.

    Settings of a ``matplotlibrc`` file or of the process, such as ``text.usetex``, do not matter.
    """
    from matplotlib import style as styles

    style: Any = {
        "font.family": ["DejaVu Sans", *wide_fonts()],
        "text.parse_math": False,  # a class may be called "$5"
        "axes.edgecolor": MUTED,
        "axes.labelcolor": "#111827",
        "xtick.color": "#111827",
        "ytick.color": "#111827",
        "axes.titlesize": 11,
        "axes.titleweight": "bold",
    }
    with styles.context(["default", style]), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=r"(Glyph|Matplotlib currently)", append=False)
        yield


def wide_fonts() -> list[str]:
    """Return the first font of ``WIDE_FONTS`` that is installed, or nothing."""
    from matplotlib.font_manager import fontManager

    installed = {entry.name for entry in fontManager.ttflist}
    return [name for name in WIDE_FONTS if name in installed][:1]
