"""Reads a table of pixels with one image per row, the format of Kaggle's Digit Recognizer.

The rows are converted to PNG files in the cache, one by one, so that memory use is constant and all
later steps work with image files.
"""

from __future__ import annotations

import csv
import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from tltool.data.sources.cache_index import INDEX, index_listing
from tltool.data.sources.listing import Listing
from tltool.data.sources.pixel_columns import PixelColumns, count_pixels, pixel_columns
from tltool.data.sources.source_cache import cached_copy, content_key
from tltool.data.sources.table_columns import META
from tltool.data.sources.table_rows import Table
from tltool.errors import DataError, UsageError
from tltool.events import Observer
from tltool.recipe.schema import PIXELS_PATTERN

_FORMAT = 2  # of the cached copies; increment when their content changes
_ROW_NUMBERS = ("", "unnamed: 0")  # names of the index column that pandas writes
_PROGRESS = 500
_SHAPE_HINT = "set data.pixels (--pixels) to height x width, or height x width x 3 for colour"


@dataclass(frozen=True)
class Shape:
    """Height, width and channels (1 grey, 3 RGB) of the images in a table of pixels."""

    height: int
    width: int
    channels: int

    @property
    def size(self) -> int:
        """Number of values per image."""
        return self.height * self.width * self.channels


def parse_shape(text: str) -> Shape:
    """Parse ``HxW`` or ``HxWxC``.

    Raises:
        UsageError: the text is not a shape.
    """
    if not re.fullmatch(PIXELS_PATTERN, text):
        raise UsageError(
            f"'{text}' is not an image shape", hint="height x width, such as 28x28 or 32x32x3"
        )
    height, width, *channels = (int(part) for part in text.split("x"))
    return Shape(height, width, channels[0] if channels else 1)


def is_pixels(table: Table) -> bool:
    """Return whether a table contains pixels (and not paths, with numbers as further columns)."""
    return "path" not in table.columns and count_pixels(table.columns) > 1


def list_pixels(
    table: Table,
    *,
    shape: Shape | None,
    labelled: bool,
    cache: Path,
    observer: Observer,
) -> Listing:
    """List the images of a table of pixels, converted to files in the cache.

    Args:
        table: with ``label``, possibly other columns of ``table_columns.META``, and the pixels row
            by row, 0 to 255; for RGB the three channels of a pixel are adjacent. The column names
            define the order.
        shape: of the images; None means square, grey or RGB, from the number of columns.
        labelled: whether a label is required.
        cache: folder of the copies.
        observer: receives the progress.

    Raises:
        DataError: there is no label, the shape does not fit, or a row has invalid pixels.
        EnvironmentProblem: the copy cannot be written.
    """
    pixels = pixel_columns(table.path, table.columns)
    _check_columns(table, pixels.positions, labelled=labelled)
    if not set(_ROW_NUMBERS).isdisjoint(table.columns):
        observer.on_message(f"the row numbers in {table.path} are ignored")
    image_shape = shape or _default_shape(table, pixels)
    _check_shape(table, pixels, image_shape)
    key = f"pixels {_FORMAT} {image_shape} {content_key(table.path)}"

    def make(folder: Path) -> None:
        _write_images(table, pixels.positions, image_shape, folder, observer)

    folder = cached_copy(cache, table.path.name, key, make)
    return index_listing(str(table.path), folder, labelled=labelled)


def _check_columns(table: Table, pixels: Sequence[int], *, labelled: bool) -> None:
    if labelled and "label" not in table.columns:
        raise DataError(
            f"{table.path} has pixels, but no column 'label'",
            hint="a table without labels can only be used with tltool predict",
        )
    chosen = {table.columns[n] for n in pixels}
    known = chosen.union(META, _ROW_NUMBERS)
    unknown = [name for name in table.columns if name not in known]
    if unknown:
        raise DataError(
            f"{table.path} has an unknown column {unknown[0][:40]!r}",
            hint=f"allowed are pixel0, pixel1, … and {', '.join(META)}",
        )


def _default_shape(table: Table, pixels: PixelColumns) -> Shape:
    """Return the shape defined by the column names, otherwise a square, grey or RGB."""
    if pixels.grid:
        return Shape(*pixels.grid, channels=1)
    count = len(pixels.positions)
    for channels in (1, 3):
        side = math.isqrt(count // channels)
        if side * side * channels == count:
            return Shape(side, side, channels)
    raise DataError(
        f"{table.path} has {count} pixel columns, which do not form a square image",
        hint=_SHAPE_HINT,
    )


def _check_shape(table: Table, pixels: PixelColumns, shape: Shape) -> None:
    text = f"{shape.height}x{shape.width}x{shape.channels}"
    if shape.size != len(pixels.positions):
        raise DataError(
            f"{table.path} has {len(pixels.positions)} pixel columns, but images of {text} have"
            f" {shape.size}",
            hint=_SHAPE_HINT,
        )
    if pixels.grid and pixels.grid != (shape.height, shape.width * shape.channels):
        raise DataError(
            f"{table.path}: the pixel names define {pixels.grid[0]} rows and {pixels.grid[1]}"
            f" columns, which do not fit images of {text}",
            hint=_SHAPE_HINT,
        )


def _write_images(
    table: Table, pixels: Sequence[int], shape: Shape, folder: Path, observer: Observer
) -> None:
    """Write one PNG per row, and an index with the other columns."""
    mode = "L" if shape.channels == 1 else "RGB"
    first, end = pixels[0], pixels[0] + len(pixels)
    in_order = tuple(pixels) == tuple(range(first, end))
    meta = [n for n, name in enumerate(table.columns) if name in META]
    with (folder / INDEX).open("w", encoding="utf-8", errors="surrogateescape", newline="") as to:
        index = csv.writer(to)
        index.writerow(["path", "line", *(table.columns[n] for n in meta)])
        for count, (line, cells) in enumerate(_cells(table), start=1):
            row = cells[first:end] if in_order else [cells[n] for n in pixels]
            image = Image.frombytes(mode, (shape.width, shape.height), _bytes(row, line, table))
            name = f"{count:06d}.png"
            image.save(folder / name, compress_level=1)
            index.writerow([name, line, *(cells[n] for n in meta)])
            if count % _PROGRESS == 0:
                observer.on_progress(count, count, unit="rows")


def _cells(table: Table) -> Iterator[tuple[int, list[str]]]:
    for line, row in table.rows:
        assert isinstance(row, list)
        yield line, row


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
