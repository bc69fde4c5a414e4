"""Writes the rows of a table of pixels as PNG files, one by one."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path

from PIL import Image

from tltool.data.sources.tables.cache_index import INDEX, write_notes
from tltool.data.sources.tables.column_names import ROW_NUMBERS
from tltool.data.sources.tables.pixel_order import SAMPLE, adjacent_colours, smoother_order
from tltool.data.sources.tables.table_rows import Table
from tltool.errors import DataError
from tltool.events import Observer

_PROGRESS = 500


@dataclass(frozen=True)
class Shape:
    """Height, width and channels (1 grey, 3 RGB) of the images in a table of pixels.

    ``planes`` is whether all red values of an image come first, then green, then blue; None if this
    is to be found out.
    """

    height: int
    width: int
    channels: int
    planes: bool | None = False

    @property
    def size(self) -> int:
        """Number of values per image."""
        return self.height * self.width * self.channels


@dataclass(frozen=True)
class PixelWriter:
    """Writes the images of a table.

    Attributes:
        table: with rows that are lists of cells.
        pixels: positions of the pixels, in their order.
        shape: of the images.
        folder: an empty folder.
    """

    table: Table
    pixels: Sequence[int]
    shape: Shape
    folder: Path

    def write(self, observer: Observer) -> None:
        """Write one PNG per row, an index with the other columns, and notes about the colours.

        Raises:
            DataError: a row has invalid pixels.
        """
        columns = self.table.columns
        hidden = {columns[n] for n in self.pixels} | {*ROW_NUMBERS, "path", "line"}
        others = [n for n, name in enumerate(columns) if name not in hidden]
        rows = self._rows()
        sample = list(islice(rows, SAMPLE)) if self.shape.channels == 3 else []
        in_planes, note = self._colour_order([row for _, _, row in sample])
        write_notes(self.folder, [note] if note else [])
        mode = "L" if self.shape.channels == 1 else "RGB"
        path = self.folder / INDEX
        with path.open("w", encoding="utf-8", errors="surrogateescape", newline="") as to:
            index = csv.writer(to)
            index.writerow(["path", "line", *(columns[n] for n in others)])
            for count, (line, cells, row) in enumerate(chain(sample, rows), start=1):
                data = adjacent_colours(row) if in_planes else row
                image = Image.frombytes(mode, (self.shape.width, self.shape.height), data)
                name = f"{count:06d}.png"
                image.save(self.folder / name, compress_level=1)
                index.writerow([name, line, *(cells[n] for n in others)])
                if count % _PROGRESS == 0:
                    observer.on_progress(count, count, unit="rows")

    def _rows(self) -> Iterator[tuple[int, list[str], bytes]]:
        """Yield line number, cells and pixels of each row."""
        first, end = self.pixels[0], self.pixels[0] + len(self.pixels)
        in_order = tuple(self.pixels) == tuple(range(first, end))
        for line, cells in self.table.rows:
            assert isinstance(cells, list)
            row = cells[first:end] if in_order else [cells[n] for n in self.pixels]
            yield line, cells, _bytes(row, line, self.table)

    def _colour_order(self, rows: Sequence[bytes]) -> tuple[bool, str]:
        """Return whether the colours are in planes, and a sentence if that is not certain."""
        shape, path = self.shape, self.table.path
        if shape.channels == 1 or not rows:
            return bool(shape.planes), ""
        order = smoother_order(rows, shape.height, shape.width)
        adjacent = f"data.pixels={shape.height}x{shape.width}x3"
        planes = f"data.pixels=3x{shape.height}x{shape.width}"
        if shape.planes is None:
            if order == "planes":
                return True, (
                    f"the colours of {path} are read as planes (all red values first), because its"
                    f" images are smooth then; if they are adjacent, set {adjacent}"
                )
            unclear = (
                f"the three colours of a pixel of {path} are read as adjacent; if all red values"
                f" come first, set {planes}"
            )
            return False, "" if order else unclear
        if order is not None and (order == "planes") != shape.planes:
            other = planes if order == "planes" else adjacent
            return shape.planes, f"the colours of {path} look mixed up: set {other}?"
        return shape.planes, ""


def _bytes(row: Sequence[str], line: int, table: Table) -> bytes:
    """Return the pixels of a row as bytes; whole numbers such as 12.0 are accepted."""
    try:
        return bytes(map(int, row))
    except ValueError:
        pass
    for position, text in enumerate(row):
        if not _is_byte(text):
            raise DataError(
                f"{table.path}, line {line}: pixel {position} is {text[:20]!r}, not a whole number"
                " from 0 to 255",
                hint="pixels are 0 (black) to 255 (white)",
            )
    return bytes(int(float(text)) for text in row)


def _is_byte(text: str) -> bool:
    try:
        value = float(text)
    except ValueError:
        return False
    return 0 <= value <= 255 and value.is_integer()
