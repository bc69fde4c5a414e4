"""The items of a data set as columns, in little memory."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray

from tltool.data.columns import Names, TextColumn
from tltool.data.item import SPLIT_NAMES, Item, SplitName
from tltool.data.path_as_text import text_of_path

# A row of fixed size for each item. Names are positions in a table, -1 for none.
_ROW = np.dtype(
    [
        ("label", np.int32),
        ("given_split", np.int8),
        ("group", np.int32),
        ("weight", np.float64),
        ("fold", np.int32),
        ("sha256", "S32"),
        ("digest_bytes", np.uint8),  # NumPy drops zero bytes at the end
        ("width", np.int32),
        ("height", np.int32),
        ("format", np.int32),
        ("orientation", np.int8),
        ("brightness", np.float64),
        ("sharpness", np.float64),
        ("perceptual_hash", "S32"),
    ]
)
_HASH_BYTES = 32
_NO_HASH = b"\xff" * _HASH_BYTES  # a hash has 255 bits
_BLOCK = 4096  # items that are objects at once
_GROWTH = 1.2


class ItemColumns(Sequence[Item]):
    """Items as columns: each takes its path and some 130 bytes; an ``Item`` with its path 800.

    An item is made anew whenever it is accessed. Columns equal any sequence of the same items.

    Args:
        items: are copied.

    Examples:
        >>> items = ItemColumns([Item(Path("cat/1.jpg"), "cat")])
        >>> items[0].label
        'cat'
    """

    def __init__(self, items: Iterable[Item] = ()) -> None:
        self._rows, self._count = np.zeros(0, _ROW), 0
        self._paths = TextColumn()
        self._cells: TextColumn | None = None  # few sources have further columns
        self._labels, self._groups, self._formats = Names(), Names(), Names()
        for item in items:
            self.append(item)

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[Item]:
        for start in range(0, self._count, _BLOCK):
            rows = self._rows[start : min(start + _BLOCK, self._count)].tolist()
            yield from (self._item(start + number, row) for number, row in enumerate(rows))

    @overload
    def __getitem__(self, index: int) -> Item: ...
    @overload
    def __getitem__(self, index: slice) -> ItemColumns: ...
    def __getitem__(self, index: int | slice) -> Item | ItemColumns:
        if isinstance(index, slice):
            return self.select(range(self._count)[index])
        place = range(self._count)[index]
        return self._item(place, self._rows[place].item())

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Sequence) or len(self) != len(other):
            return NotImplemented
        return all(mine == its for mine, its in zip(self, other, strict=True))

    __hash__ = None  # type: ignore[assignment]

    @property
    def rows(self) -> NDArray[Any]:
        """The columns of fixed size as a structured array [N]; names are positions in a table.

        ``sha256`` has bytes, ``perceptual_hash`` those of the number, ``given_split`` is a position
        in ``SPLIT_NAMES``; -1 stands for no split, group or fold.
        """
        return self._rows[: self._count]

    @property
    def label_names(self) -> Sequence[str]:
        """The names to which the column ``label`` refers; some may have no item."""
        return self._labels.texts

    @property
    def group_names(self) -> Sequence[str]:
        """The names to which the column ``group`` refers; some may have no item."""
        return self._groups.texts

    @property
    def path_texts(self) -> TextColumn:
        """The path of each item."""
        return self._paths

    def labels(self) -> list[str]:
        """Return the label of each item."""
        names = self._labels.texts
        return [names[code] for code in self.rows["label"].tolist()]

    def classes(self, of: NDArray[np.bool_] | slice = slice(None)) -> list[str]:
        """Return the labels that an item has, sorted; of the items where ``of`` is true."""
        names = self._labels.texts
        return sorted(names[code] for code in np.unique(self.rows["label"][of]).tolist())

    def given_splits(self) -> set[SplitName]:
        """Return the splits that an item has in its source."""
        present = np.unique(self.rows["given_split"]).tolist()
        return {SPLIT_NAMES[code] for code in present if code >= 0}

    def label_ranks(self) -> NDArray[np.int64]:
        """Return the place of the label of each item in the sorted order of labels: int64 [N]."""
        codes: NDArray[np.int32] = self.rows["label"]
        return self._labels.ranks()[codes]

    def digests(self, places: NDArray[np.int64] | slice = slice(None)) -> list[str]:
        """Return the SHA-256 (hex) of the items at ``places``, by default of all."""
        digests, sizes = self.rows["sha256"][places], self.rows["digest_bytes"][places]
        pairs = zip(digests.tolist(), sizes.tolist(), strict=True)
        return [_hex(digest, size) for digest, size in pairs]

    def hashes(self) -> tuple[NDArray[np.bool_], NDArray[np.uint8]]:
        """Return whether each item has a perceptual hash, bool [N], and the hashes, uint8 [N, 32].

        Their bits are those of the number, the highest first.
        """
        stored = np.ascontiguousarray(self.rows["perceptual_hash"])
        return stored != _NO_HASH, stored.view(np.uint8).reshape(-1, _HASH_BYTES)

    def append(self, item: Item) -> None:
        """Add an item at the end."""
        if self._count == len(self._rows):
            rows = np.zeros(int(self._count * _GROWTH) + 16, _ROW)
            rows[: self._count] = self._rows
            self._rows = rows
        self._paths.append(text_of_path(item))
        if item.columns and self._cells is None:
            self._cells = TextColumn([""] * self._count)
        if self._cells is not None:
            self._cells.append(json.dumps(item.columns) if item.columns else "")
        self._rows[self._count] = self._row(item)
        self._count += 1

    def set_facts(self, index: int, item: Item) -> None:
        """Replace the item at ``index`` by the same one with the facts of its audit."""
        self._rows[index] = self._row(item)

    def select(self, indices: Iterable[int] | NDArray[np.int64]) -> ItemColumns:
        """Return the items at ``indices``, in that order; all of them share their memory."""
        places = np.fromiter(indices, np.int64)
        everything = np.array_equal(places, np.arange(self._count))
        chosen = ItemColumns()
        chosen._rows = self.rows if everything else self.rows[places]
        chosen._count = len(places)
        chosen._labels, chosen._groups = self._labels.copy(), self._groups.copy()
        chosen._formats = self._formats.copy()
        texts = [
            column if column is None or everything else column.select(places.tolist())
            for column in (self._paths, self._cells)
        ]
        chosen._paths, chosen._cells = texts[0] or TextColumn(), texts[1]
        return chosen

    def joined(self, others: ItemColumns) -> ItemColumns:
        """Return these items and then ``others``."""
        if not len(others):
            return self
        both = ItemColumns()
        both._paths = self._paths.joined(others._paths)
        if self._cells is not None or others._cells is not None:
            both._cells = self._all_cells().joined(others._all_cells())
        both._labels, added = self._labels.joined(others._labels)
        rows = others.rows.copy()
        rows["label"] = added[rows["label"]]
        both._groups, added = self._groups.joined(others._groups)
        grouped = rows["group"] >= 0
        rows["group"][grouped] = added[rows["group"][grouped]]
        both._formats, added = self._formats.joined(others._formats)
        rows["format"] = added[rows["format"]]
        both._rows = np.concatenate([self.rows, rows])
        both._count = len(both._rows)
        return both

    def _all_cells(self) -> TextColumn:
        return TextColumn([""] * self._count) if self._cells is None else self._cells

    def _row(self, item: Item) -> tuple[Any, ...]:
        digest, hashed = bytes.fromhex(item.sha256), item.perceptual_hash
        split, group = item.given_split, item.group
        return (
            self._labels.code(item.label),
            -1 if split is None else SPLIT_NAMES.index(split),
            -1 if group is None else self._groups.code(group),
            item.weight,
            -1 if item.fold is None else item.fold,
            digest,
            len(digest),
            item.width,
            item.height,
            self._formats.code(item.format),
            item.orientation,
            item.brightness,
            item.sharpness,
            _NO_HASH if hashed is None else hashed.to_bytes(_HASH_BYTES, "big"),
        )

    def _item(self, index: int, row: tuple[Any, ...]) -> Item:
        label, split, group, weight, fold, digest, size, width, height, kind, *rest = row
        orientation, brightness, sharpness, hashed = rest
        cells = "" if self._cells is None else self._cells[index]
        whole = hashed.ljust(_HASH_BYTES, b"\0")
        return Item(
            Path(self._paths[index]),
            self._labels.texts[label],
            None if split < 0 else SPLIT_NAMES[split],
            None if group < 0 else self._groups.texts[group],
            weight,
            None if fold < 0 else fold,
            _hex(digest, size),
            width,
            height,
            self._formats.texts[kind],
            orientation,
            brightness,
            sharpness,
            tuple((name, cell) for name, cell in json.loads(cells)) if cells else (),
            None if whole == _NO_HASH else int.from_bytes(whole, "big"),
        )


def _hex(digest: bytes, size: int) -> str:
    return digest.ljust(size, b"\0").hex()


def as_columns(items: Sequence[Item]) -> ItemColumns:
    """Return ``items`` themselves if they are columns already, otherwise a copy as columns."""
    return items if isinstance(items, ItemColumns) else ItemColumns(items)
