"""The columns of a table that describe an image: label, split, group, weight, fold."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tltool.data.catalog import Item, SplitName
from tltool.data.sources.listing import SPLIT_WORDS, class_name, split_named
from tltool.errors import DataError

META = ("label", "split", "group", "weight", "fold")
_LINES_NAMED = 8
_FILES_NAMED = 20


@dataclass
class Problems:
    """The problems of a table, which are reported together.

    Attributes:
        source: the table.
        places: for each problem, where it occurs.
    """

    source: Path | str
    places: dict[str, list[str]] = field(default_factory=dict)

    def add(self, problem: str, where: str) -> None:
        """Record a problem at one more place."""
        self.places.setdefault(problem, []).append(where)

    def check(self) -> None:
        """Report all problems.

        Raises:
            DataError: there is at least one.
        """
        if self.places:
            problems = [f"{problem} ({_some(where)})" for problem, where in self.places.items()]
            raise DataError(f"{self.source}: {'; '.join(problems)}", hint="correct these lines")


def _some(where: list[str]) -> str:
    most = _LINES_NAMED if where[0].startswith("line ") else _FILES_NAMED
    more = f" and {len(where) - most:,} more" if len(where) > most else ""
    return f"{', '.join(where[:most])}{more}"


def item_from_row(
    path: Path, cells: Mapping[str, str], *, line: int, problems: Problems, labelled: bool
) -> Item:
    """Return the item of a row; invalid cells are added to ``problems``.

    Args:
        path: the image.
        cells: by column; columns that are not in ``META`` only slice the evaluation.
        line: line number of the row.
        problems: collects the invalid cells.
        labelled: whether a label is required.
    """
    where = f"line {line}"
    label = cells.get("label", "").strip()
    if labelled and not label:
        problems.add("the label is empty", where)
    return Item(
        path=path,
        label=class_name(
            label,
            described_as=f"the class in line {line} of {problems.source}",
            hint="save the table as UTF-8",
        ),
        given_split=_split(cells.get("split", "").strip(), where, problems),
        group=cells.get("group", "").strip() or None,
        weight=_weight(cells.get("weight", "").strip(), where, problems),
        fold=_fold(cells.get("fold", "").strip(), where, problems),
        columns=tuple((k, v.strip()) for k, v in cells.items() if k not in ("path", "line", *META)),
    )


def _split(text: str, where: str, problems: Problems) -> SplitName | None:
    split = split_named(text)
    if text and split is None:
        problems.add(
            f"the split must be one of {', '.join(SPLIT_WORDS)}", f"{where}: {text[:40]!r}"
        )
    return split


def _weight(text: str, where: str, problems: Problems) -> float:
    try:
        weight = float(text or 1)
    except ValueError:
        weight = 0.0
    if not (math.isfinite(weight) and weight > 0):
        problems.add("the weight must be a number above 0", f"{where}: {text[:40]!r}")
    return weight


def _fold(text: str, where: str, problems: Problems) -> int | None:
    if text and not (text.isdecimal() and text.isascii() and len(text) < 7):
        problems.add("the fold must be a whole number from 0", f"{where}: {text[:40]!r}")
        return None
    return int(text) if text else None
