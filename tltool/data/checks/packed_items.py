"""Items in little memory, for a check of very many files."""

from __future__ import annotations

import marshal
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import fields
from operator import attrgetter
from pathlib import Path
from typing import overload

from tltool.data.catalog import Item

_NAMES = tuple(field.name for field in fields(Item))
_PATH, _DIGEST = _NAMES.index("path"), _NAMES.index("sha256")
_values = attrgetter(*_NAMES)


class PackedItems(Sequence[Item]):
    """Items of which each takes some 200 bytes; an ``Item`` with its path takes 800.

    An item is made anew whenever it is accessed.

    Example:
        >>> items = PackedItems([Item(Path("cat/1.jpg"), "cat")])
        >>> items[0].label
        'cat'
    """

    def __init__(self, items: Iterable[Item] = ()) -> None:
        self._rows = [_pack(item) for item in items]

    def __len__(self) -> int:
        return len(self._rows)

    def __iter__(self) -> Iterator[Item]:
        return map(_unpack, self._rows)

    @overload
    def __getitem__(self, index: int) -> Item: ...
    @overload
    def __getitem__(self, index: slice) -> PackedItems: ...
    def __getitem__(self, index: int | slice) -> Item | PackedItems:
        if isinstance(index, int):
            return _unpack(self._rows[index])
        return _of_rows(self._rows[index])

    def __setitem__(self, index: int, item: Item) -> None:
        self._rows[index] = _pack(item)

    def select(self, indices: Iterable[int]) -> PackedItems:
        """Return the items at ``indices``, in that order."""
        return _of_rows([self._rows[index] for index in indices])

    def joined(self, others: PackedItems) -> PackedItems:
        """Return these items and then ``others``."""
        return _of_rows(self._rows + others._rows)


def _of_rows(rows: list[bytes]) -> PackedItems:
    packed = PackedItems()
    packed._rows = rows
    return packed


def _pack(item: Item) -> bytes:
    values = list(_values(item))
    values[_PATH] = os.fspath(item.path)
    values[_DIGEST] = bytes.fromhex(item.sha256)
    return marshal.dumps(tuple(values))


def _unpack(row: bytes) -> Item:
    values = list(marshal.loads(row))
    values[_PATH] = Path(values[_PATH])
    values[_DIGEST] = values[_DIGEST].hex()
    return Item(*values)
