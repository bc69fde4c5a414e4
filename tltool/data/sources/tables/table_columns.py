"""The columns of a table that describe an image: label, split, group, weight, fold."""

from __future__ import annotations

import math
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tltool.data.catalog import Item, SplitName
from tltool.data.sources.class_names import is_missing, whole_number
from tltool.data.sources.listing import SPLIT_WORDS, class_name, listed, split_named
from tltool.data.sources.tables.table_labels import is_folder_of
from tltool.errors import DataError, did_you_mean
from tltool.events import Observer

META = ("label", "split", "group", "weight", "fold")
_SPLIT_VALUE = re.compile("train|test|val|dev|hold")
_SPLIT_COLUMNS = frozenset(
    {"partition", "subset", "set", "phase", "stage", "usage"}
    | {"train", "istrain", "test", "istest", "val", "valid", "isval", "isvalid", "isvalidation"}
)
_FLAGS = frozenset({"0", "1", "2", "0.0", "1.0", "2.0", "true", "false", "yes", "no"})
_MOST_SPLITS = 6
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
    path: Path,
    cells: Mapping[str, str],
    *,
    line: int,
    problems: Problems,
    labelled: bool,
    are_names: bool = False,
) -> Item:
    """Return the item of a row; invalid cells are added to ``problems``.

    Args:
        path: the image.
        cells: by column; columns that are not in ``META`` only slice the evaluation.
        line: line number of the row.
        problems: collects the invalid cells.
        labelled: whether a label is required.
        are_names: whether the labels are names of classes, not cells that users wrote; then ``nan``
            is one too.
    """
    where = f"line {line}"
    label = cells.get("label", "").strip()
    if is_missing(label) and not are_names and not is_folder_of(label, cells.get("path", "")):
        if labelled:
            problems.add("the label is missing", f"{where}: {label!r}")
        label = ""
    elif labelled and not label:
        problems.add("the label is empty", where)
    return Item(
        path=path,
        label=class_name(
            label,
            described_as=f"the class in line {line} of {problems.source}",
            hint="save the table as UTF-8",
        ),
        given_split=_split(_value(cells, "split"), where, problems),
        group=_value(cells, "group") or None,
        weight=_weight(cells.get("weight", "").strip(), where, problems),
        fold=_fold(_value(cells, "fold"), where, problems),
        columns=tuple((k, v.strip()) for k, v in cells.items() if k not in ("path", "line", *META)),
    )


def report_unused_columns(source: Path | str, items: Sequence[Item], observer: Observer) -> None:
    """Report the columns that only slice the evaluation; those without any cell do not count."""
    unused = {name for item in items for name, value in item.columns if value}
    if unused:
        observer.on_message(
            f"columns of {source} that are not used in training, only as slices of the evaluation:"
            f" {listed(sorted(unused))}"
        )
    splits = [] if any(item.given_split for item in items) else _split_columns(items)
    if splits:
        observer.on_message(
            f"{source}: the column {listed(splits)} may say the split of each image, but is not"
            " used; to use it, name it 'split', with the values train, validation and test",
            level="warning",
        )


def _split_columns(items: Sequence[Item]) -> list[str]:
    """Return the other columns that look like splits: by their values, or as flags by their name.

    An example is ``subset`` with ``train`` and ``test``, or ``is_train`` with 0 and 1.
    """
    values: dict[str, set[str]] = defaultdict(set)
    for item in items:
        for name, value in item.columns:
            if value and len(values[name]) <= _MOST_SPLITS:
                values[name].add(value.lower())
    return sorted(name for name, found in values.items() if _is_split(name, found))


def _is_split(name: str, values: set[str]) -> bool:
    if not 1 < len(values) <= _MOST_SPLITS:
        return False
    words = all(_SPLIT_VALUE.search(value) for value in values)
    named = re.sub(r"[\W_]+", "", name.lower()) in _SPLIT_COLUMNS
    return (words and any("train" in value for value in values)) or (named and values <= _FLAGS)


def _value(cells: Mapping[str, str], column: str) -> str:
    text = cells.get(column, "").strip()
    return "" if is_missing(text) else text


def _split(text: str, where: str, problems: Problems) -> SplitName | None:
    split = split_named(text)
    if text and split is None:
        near = did_you_mean(text.lower(), SPLIT_WORDS)
        problems.add(
            f"the split must be one of {', '.join(SPLIT_WORDS)}",
            f"{where}: {text[:40]!r}{'.' if near else ''}{near}",
        )
    return split


def _weight(text: str, where: str, problems: Problems) -> float:
    weight = _positive(text or "1")
    if not weight:
        with_point = text.replace(",", ".")
        mend = f" (write {with_point})" if _positive(with_point) else ""
        problems.add("the weight must be a number above 0", f"{where}: {text[:40]!r}{mend}")
    return weight


def _positive(text: str) -> float:
    """Return the number above 0 in a cell, else 0."""
    try:
        number = float(text)
    except ValueError:
        return 0.0
    return number if math.isfinite(number) and number > 0 else 0.0


def _fold(text: str, where: str, problems: Problems) -> int | None:
    text = whole_number(text)
    if text and not (text.isdecimal() and text.isascii() and len(text) < 7):
        problems.add("the fold must be a whole number from 0", f"{where}: {text[:40]!r}")
        return None
    return int(text) if text else None
