"""Which column of a table holds which pixel: told by the names, wherever the columns stand."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from tltool.errors import DataError

_NUMBER = r"\d{1,9}"
_NAME = re.compile(rf"(pixel)?({_NUMBER})|({_NUMBER})x({_NUMBER})")


@dataclass(frozen=True)
class PixelColumns:
    """The columns that are pixels.

    Attributes:
        positions: where they stand among all columns, in the order of the pixels.
        grid: rows and columns of the image, where the names tell them.
    """

    positions: tuple[int, ...]
    grid: tuple[int, int] | None


@dataclass(frozen=True)
class _Named:
    """A column by its name; pixels that are only counted stand in row 0."""

    name: str
    position: int
    kind: str
    place: tuple[int, int]


def count_pixels(columns: Sequence[str]) -> int:
    """Return how many of the columns are called like pixels."""
    return len(_named(columns))


def pixel_columns(path: Path, columns: Sequence[str]) -> PixelColumns:
    """Find the pixels among columns, and their order.

    They are called ``pixel0``, ``pixel1``, … or ``0``, ``1``, … or ``1x1``, ``1x2``, … for row and
    column; counts begin with 0 or 1.

    Raises:
        DataError: a pixel is missing or is there twice, or the names are of several kinds.
    """
    named = sorted(_named(columns), key=lambda one: one.place)
    _check_alike(path, named)
    size = _check_whole(path, named)
    grid = size if named and named[0].kind == "x" else None
    return PixelColumns(tuple(one.position for one in named), grid)


def _named(columns: Sequence[str]) -> list[_Named]:
    found = []
    for position, name in enumerate(columns):
        if match := _NAME.fullmatch(name):
            prefix, number, row, column = match.groups()
            place = (0, int(number)) if number else (int(row), int(column))
            found.append(_Named(name, position, "x" if row else prefix or "", place))
    return found


def _check_alike(path: Path, named: Sequence[_Named]) -> None:
    first = min(named, key=lambda one: one.position, default=None)
    other = next((one for one in named if first and one.kind != first.kind), None)
    if first and other:
        raise DataError(
            f"{path} names its pixels in different ways: {first.name!r} and {other.name!r}",
            hint="name them pixel0, pixel1, …",
        )
    for one, following in pairwise(named):
        if one.place == following.place:
            raise DataError(
                f"{path}: {one.name!r} and {following.name!r} are the same pixel",
                hint="remove one of them",
            )


def _check_whole(path: Path, named: Sequence[_Named]) -> tuple[int, int]:
    """Return rows and columns of what ``named``, in order, fill without a gap."""
    rows, row = _extent([one.place[0] for one in named])
    columns, column = _extent([one.place[1] for one in named])
    for number in range(len(named)):
        wanted = (row + number // columns, column + number % columns)
        if named[number].place != wanted:
            raise _missing(path, wanted, named[0].kind)
    if len(named) < rows * columns:
        raise _missing(path, (row + len(named) // columns, column + len(named) % columns), "x")
    return rows, columns


def _extent(numbers: Sequence[int]) -> tuple[int, int]:
    """Return how many numbers there are up to the largest, and the first: 0 or 1."""
    first = 1 if min(numbers, default=0) == 1 else 0
    return max(numbers, default=0) - first + 1, first


def _missing(path: Path, place: tuple[int, int], kind: str) -> DataError:
    name = f"{place[0]}x{place[1]}" if kind == "x" else f"{kind}{place[1]}"
    return DataError(
        f"{path} has no column {name!r} among its pixels",
        hint="they are counted from 0 or 1 without a gap",
    )
