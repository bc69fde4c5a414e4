"""The columns of a table beside its images: label, split, group, weight, fold."""

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
    """What is wrong with a table, told all at once.

    Attributes:
        source: the table.
        found: what is wrong, to where it is.
    """

    source: Path | str
    found: dict[str, list[str]] = field(default_factory=dict)

    def note(self, what: str, where: str) -> None:
        """Remember one more place where ``what`` is wrong."""
        self.found.setdefault(what, []).append(where)

    def check(self) -> None:
        """Tell all problems.

        Raises:
            DataError: there is at least one.
        """
        if self.found:
            told = [f"{what} ({_some(where)})" for what, where in self.found.items()]
            raise DataError(f"{self.source}: {'; '.join(told)}", hint="mend these lines")


def _some(where: list[str]) -> str:
    most = _LINES_NAMED if where[0].startswith("line ") else _FILES_NAMED
    more = f" and {len(where) - most:,} more" if len(where) > most else ""
    return f"{', '.join(where[:most])}{more}"


def described_item(
    path: Path, cells: Mapping[str, str], *, line: int, problems: Problems, labelled: bool
) -> Item:
    """Return an item with what its row says; what is wrong with the row is noted.

    Args:
        path: the image.
        cells: by column; those that are no part of ``META`` only slice an evaluation.
        line: number of the row's line.
        problems: hears of wrong cells.
        labelled: whether a label is wanted.
    """
    where = f"line {line}"
    label = cells.get("label", "").strip()
    if labelled and not label:
        problems.note("the label is empty", where)
    return Item(
        path=path,
        label=class_name(
            label,
            told=f"the class in line {line} of {problems.source}",
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
        problems.note(f"the split is none of {', '.join(SPLIT_WORDS)}", f"{where}: {text[:40]!r}")
    return split


def _weight(text: str, where: str, problems: Problems) -> float:
    try:
        weight = float(text or 1)
    except ValueError:
        weight = 0.0
    if not (math.isfinite(weight) and weight > 0):
        problems.note("the weight is no number above 0", f"{where}: {text[:40]!r}")
    return weight


def _fold(text: str, where: str, problems: Problems) -> int | None:
    if text and not (text.isdecimal() and text.isascii() and len(text) < 7):
        problems.note("the fold is no whole number from 0 on", f"{where}: {text[:40]!r}")
        return None
    return int(text) if text else None
