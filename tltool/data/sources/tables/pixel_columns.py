"""Finds the pixel columns of a table by their names, in any order."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from tltool.errors import DataError

_NUMBER = r"\d{1,9}"
_PREFIX = "(?:pixel|pix|px)[ _.-]?"
_NAME = re.compile(rf"({_PREFIX})?({_NUMBER})|(?:{_PREFIX})?({_NUMBER})[x_]({_NUMBER})")


@dataclass(frozen=True)
class PixelColumns:
    """The columns that are pixels.

    Attributes:
        positions: among all columns, in the order of the pixels.
        grid: rows and columns of the image, if the names define them.
    """

    positions: tuple[int, ...]
    grid: tuple[int, int] | None


@dataclass(frozen=True)
class _PixelName:
    """The parsed name of a column; pixels with a single number are in row 0."""

    name: str
    position: int
    kind: str
    place: tuple[int, int]


def count_pixels(columns: Sequence[str]) -> int:
    """Return how many columns have the name of a pixel."""
    return len(_parse_names(columns))


def pixel_columns(path: Path, columns: Sequence[str]) -> PixelColumns:
    """Find the pixels among columns, and their order.

    Their names are ``pixel0``, ``pixel1``, … (also ``pixel_0`` or ``px0``) or ``0``, ``1``, … or
    ``1x1``, ``1x2``, … (row and column, also ``pixel_1_1``), numbered from 0 or 1.

    Raises:
        DataError: a pixel is missing or duplicated, or the names are of several kinds.
    """
    named = sorted(_parse_names(columns), key=lambda one: one.place)
    _check_consistent(path, named)
    size = _check_complete(path, named)
    grid = size if named and named[0].kind == "x" else None
    return PixelColumns(tuple(one.position for one in named), grid)


def _parse_names(columns: Sequence[str]) -> list[_PixelName]:
    named = []
    for position, name in enumerate(columns):
        if match := _NAME.fullmatch(name):
            prefix, number, row, column = match.groups()
            place = (0, int(number)) if number else (int(row), int(column))
            named.append(_PixelName(name, position, "x" if row else prefix or "", place))
    return named


def _check_consistent(path: Path, named: Sequence[_PixelName]) -> None:
    first = min(named, key=lambda one: one.position, default=None)
    second = next((one for one in named if first and one.kind != first.kind), None)
    if first and second:
        raise DataError(
            f"{path} has pixel columns of different kinds: {first.name!r} and {second.name!r}",
            hint="name them pixel0, pixel1, …",
        )
    for one, following in pairwise(named):
        if one.place == following.place:
            raise DataError(
                f"{path}: {one.name!r} and {following.name!r} are the same pixel",
                hint="remove one of them",
            )


def _check_complete(path: Path, named: Sequence[_PixelName]) -> tuple[int, int]:
    """Return the number of rows and columns of sorted pixels, which must have no gap."""
    rows, row = _extent([one.place[0] for one in named])
    columns, column = _extent([one.place[1] for one in named])
    for number in range(len(named)):
        expected = (row + number // columns, column + number % columns)
        if named[number].place != expected:
            raise _missing(path, expected, named[0].kind)
    if len(named) < rows * columns:
        raise _missing(path, (row + len(named) // columns, column + len(named) % columns), "x")
    return rows, columns


def _extent(numbers: Sequence[int]) -> tuple[int, int]:
    """Return the count of numbers up to the largest, and the first number: 0 or 1."""
    first = 1 if min(numbers, default=0) == 1 else 0
    return max(numbers, default=0) - first + 1, first


def _missing(path: Path, place: tuple[int, int], kind: str) -> DataError:
    name = f"{place[0]}x{place[1]}" if kind == "x" else f"{kind}{place[1]}"
    return DataError(
        f"{path} has no pixel column {name!r}",
        hint="pixel columns are numbered from 0 or 1 without a gap",
    )
