"""Names of classes that are probably mistakes: missing values, two spellings, and measurements."""

from __future__ import annotations

import math
import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable

from tltool.events import Observer

_MISSING = frozenset(
    # what pandas, numpy, R, SQL and spreadsheets write for a missing value
    {"nan", "NaN", "NAN", "-nan", "-NaN", "NaT", "null", "NULL", "Null", "None", "NA", "<NA>"}
    | {"N/A", "n/a", "n.a.", "#N/A", "#NA", "1.#QNAN", "-1.#QNAN", "1.#IND", "-1.#IND", "undefined"}
)
_MOST = 5  # groups of similar names in messages
_LIKE_LATIN = str.maketrans("авекмнорстухѕіј", "abekmhopctyxsij")  # Cyrillic letters, lower case
_WHOLE = re.compile(r"(-?[0-9]+)\.0*")


def is_missing(text: str) -> bool:
    """Return whether a cell or a name says that there is no value, as ``nan`` does.

    A class may be named ``none``; ``None`` is what Python writes.
    """
    return text in _MISSING


def whole_number(text: str) -> str:
    """Return a whole number without ``.0``, which pandas adds; any other text unchanged."""
    match = _WHOLE.fullmatch(text)
    return match[1] if match else text


def similar_names(names: Iterable[str]) -> list[list[str]]:
    """Return groups of names that differ only in case, blanks, hyphens, quotes, zeros or script.

    Whole numbers are the same with leading zeros or ``.0``, and Cyrillic letters look like Latin.
    """
    groups: dict[str, list[str]] = defaultdict(list)
    for name in names:
        text = unicodedata.normalize("NFKC", whole_number(name))
        if not re.fullmatch(r"-[\d.]+", text):  # a sign is no hyphen
            text = re.sub(r"[\s_'\"-]+", "", text)
        text = text.casefold().translate(_LIKE_LATIN)
        groups[re.sub(r"^0+(?=\d+$)", "", text) or name].append(name)
    return [sorted(group) for group in groups.values() if len(group) > 1]


def measurements(names: Iterable[str]) -> list[str]:
    """Return the numbers with decimals among the names if all are numbers: values of a regression.

    Examples:
        >>> measurements(["0.5", "2", "10.0"]), measurements(["0", "1.0"]), measurements(["v0.5"])
        (['0.5'], [], [])
    """
    names = list(names)
    numbers = [_number(name) for name in names]
    if not all(map(math.isfinite, numbers)):
        return []
    return [name for name, number in zip(names, numbers, strict=True) if number % 1]


def _number(text: str) -> float:
    try:
        return float(text.replace(",", "."))
    except ValueError:
        return math.nan


def placeholders(names: Iterable[str]) -> list[str]:
    """Return the names that probably mean "no label": ``-``, ``?``, and ``-1`` among numbers.

    Examples:
        >>> placeholders(["cat", "?"]), placeholders(["-1", "0", "1"]), placeholders(["-1", "-2"])
        (['?'], ['-1'], [])
    """
    names = list(names)
    others = [name for name in names if name != "-1"]
    symbols = [name for name in others if not re.search(r"\w", name)]  # several: of a formula
    return symbols * (len(symbols) == 1) + ["-1"] * (
        len(others) < len(names) and all(map(str.isdecimal, others))
    )


def report_class_names(names: Iterable[str], observer: Observer) -> None:
    """Warn of class names that are probably mistakes."""
    names = sorted(set(names))
    groups = similar_names(names)
    for group in groups[:_MOST]:
        observer.on_message(
            f"the classes {' and '.join(map(repr, group))} differ only in their spelling, and are"
            " trained as different classes; merge them if they are one",
            level="warning",
        )
    if len(groups) > _MOST:
        observer.on_message(f"and {len(groups) - _MOST:,} more such classes", level="warning")
    if decimals := measurements(names):
        observer.on_message(
            f"the classes are numbers such as {decimals[0]!r}, which looks like regression; tltool"
            " trains classifiers, where each number is a class without an order",
            level="warning",
        )
    for name in [*filter(is_missing, names), *placeholders(names)]:
        observer.on_message(
            f"the class {name!r} has the name of a missing value; its images may have no label",
            level="warning",
        )
