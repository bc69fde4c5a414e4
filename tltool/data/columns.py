"""Columns of texts and names in little memory, for tables of very many rows."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator

import numpy as np
from numpy.typing import NDArray

_CODING = "utf-8", "surrogatepass"  # names of files may contain bytes that are not UTF-8


class TextColumn:
    """Texts one after another in one block of bytes: each takes its bytes and 8 more.

    Examples:
        >>> column = TextColumn(["cat/1.jpg", "cat/2.jpg"])
        >>> column[1]
        'cat/2.jpg'
    """

    def __init__(self, texts: Iterable[str] = ()) -> None:
        self._data = bytearray()
        self._ends = array("q", [0])
        for text in texts:
            self.append(text)

    def __len__(self) -> int:
        return len(self._ends) - 1

    def __getitem__(self, index: int) -> str:
        return self._data[self._ends[index] : self._ends[index + 1]].decode(*_CODING)

    def __iter__(self) -> Iterator[str]:
        return (self[index] for index in range(len(self)))

    def append(self, text: str) -> None:
        """Add a text at the end."""
        self._data += text.encode(*_CODING)
        self._ends.append(len(self._data))

    def select(self, indices: Iterable[int]) -> TextColumn:
        """Return the texts at ``indices``, in that order."""
        chosen, ends = TextColumn(), self._ends
        for index in indices:
            chosen._data += self._data[ends[index] : ends[index + 1]]
            chosen._ends.append(len(chosen._data))
        return chosen

    def joined(self, other: TextColumn) -> TextColumn:
        """Return these texts and then those of ``other``."""
        both = TextColumn()
        both._data = self._data + other._data
        both._ends = self._ends[:]
        both._ends.frombytes((np.array(other._ends[1:]) + len(self._data)).tobytes())
        return both


class Names:
    """A table of different names; a column holds the position of each name in it.

    Attributes:
        texts: the names, in the order in which they were added.
    """

    def __init__(self, texts: Iterable[str] = ()) -> None:
        self.texts: list[str] = []
        self._codes: dict[str, int] = {}
        for text in texts:
            self.code(text)

    def code(self, text: str) -> int:
        """Return the position of a name, which is added if it is new."""
        code = self._codes.get(text)
        if code is None:
            code = self._codes[text] = len(self.texts)
            self.texts.append(text)
        return code

    def copy(self) -> Names:
        """Return a table to which names can be added without changing this one."""
        return Names(self.texts)

    def joined(self, others: Names) -> tuple[Names, NDArray[np.int64]]:
        """Return the names of both tables, and the position in it of each of ``others``."""
        both = self.copy()
        return both, np.array([both.code(text) for text in others.texts], np.int64)

    def ranks(self) -> NDArray[np.int64]:
        """Return the place of each name in their sorted order: int64 [K]."""
        ranks = np.empty(len(self.texts), np.int64)
        order = sorted(range(len(self.texts)), key=self.texts.__getitem__)
        ranks[order] = np.arange(len(order))
        return ranks
