"""The table of images by class and split, as it is printed."""

from __future__ import annotations

from collections.abc import Mapping

MOST_CLASSES = 50
"""With more, the smallest are shown."""


def counts_table(
    counts: Mapping[str, Mapping[str, int]],
) -> tuple[list[str], list[list[str]]]:
    """Return the columns and rows of a table of counts, with the totals in the last row.

    Args:
        counts: images of each class, at least one, by column.
    """
    columns = list(next(iter(counts.values())))
    sizes = {name: sum(row.values()) for name, row in counts.items()}
    smallest = set(sorted(counts, key=lambda name: sizes[name])[:MOST_CLASSES])
    rows = [(name, row) for name, row in counts.items() if name in smallest]
    others = [row for name, row in counts.items() if name not in smallest]
    if others:
        rows.append((f"{len(others):,} larger classes", _total(others, columns)))
    rows.append(("all", _total(list(counts.values()), columns)))
    cells = [[name, *(f"{row[column]:,}" for column in columns)] for name, row in rows]
    return ["class", *columns], cells


def _total(rows: list[Mapping[str, int]], columns: list[str]) -> dict[str, int]:
    return {column: sum(row[column] for row in rows) for column in columns}
