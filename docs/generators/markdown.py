"""Tables and sentences in Markdown."""

from __future__ import annotations

from collections.abc import Sequence


def table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table; a vertical bar in a cell is escaped."""
    bar = r"\|"
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join(f"| {' | '.join(cell.replace('|', bar) for cell in row)} |" for row in lines)


def sentence(text: str) -> str:
    """Return a docstring as one line."""
    return " ".join(text.split())
