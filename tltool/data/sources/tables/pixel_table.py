"""Reads a table of pixels with one image per row, the format of Kaggle's Digit Recognizer.

The rows are converted to PNG files in the cache, one by one, so that memory use is constant and all
later steps work with image files.
"""

from __future__ import annotations

import math
import re
from dataclasses import replace
from pathlib import Path

from tltool.data.sources.listing import Listing, listed
from tltool.data.sources.source_cache import cached_copy, content_key
from tltool.data.sources.tables.cache_index import index_listing, report_notes
from tltool.data.sources.tables.column_names import ROW_NUMBERS
from tltool.data.sources.tables.pixel_cells import has_pixel_cells, with_pixel_columns
from tltool.data.sources.tables.pixel_columns import PixelColumns, count_pixels, pixel_columns
from tltool.data.sources.tables.pixel_images import PixelWriter, Shape
from tltool.data.sources.tables.table_columns import report_unused_columns
from tltool.data.sources.tables.table_labels import clean_labels
from tltool.data.sources.tables.table_rows import Table
from tltool.errors import DataError, UsageError
from tltool.events import Observer
from tltool.recipe.schema import PIXELS_PATTERN

_FORMAT = 3  # of the cached copies; increment when their content changes
_SHAPE_HINT = "set data.pixels (--pixels) to height x width, or height x width x 3 for colour"


def parse_shape(text: str) -> Shape:
    """Parse ``HxW``, ``HxWxC``, or ``3xHxW`` for colours in planes.

    Raises:
        UsageError: the text is not a shape.
    """
    if not re.fullmatch(PIXELS_PATTERN, text):
        raise UsageError(
            f"'{text}' is not an image shape",
            hint="height x width, such as 28x28 or 32x32x3 (3x32x32 for colours in planes)",
        )
    height, width, *channels = (int(part) for part in text.split("x"))
    if channels and channels[0] not in (1, 3):
        return Shape(width, channels[0], channels=height, planes=True)
    return Shape(height, width, channels[0] if channels else 1)


def is_pixels(table: Table) -> bool:
    """Return whether a table contains pixels (and not paths, with numbers as further columns)."""
    return has_pixel_cells(table) or (
        "path" not in table.columns and count_pixels(table.columns) > 1
    )


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
        table: with ``label``, possibly other columns, and the pixels row by row, 0 to 255. The
            column names define the order.
        shape: of the images; None means square, grey or RGB, from the number of columns.
        labelled: whether a label is required.
        cache: folder of the copies.
        observer: receives the progress.

    Raises:
        DataError: there is no label, the shape does not fit, or a row has invalid pixels.
        EnvironmentProblem: the copy cannot be written.
    """
    if has_pixel_cells(table):
        table = with_pixel_columns(table)
    pixels = pixel_columns(table.path, table.columns)
    _check_label(table, pixels, labelled=labelled)
    for note in table.notes:
        observer.on_message(note)
    if not set(ROW_NUMBERS).isdisjoint(table.columns):
        observer.on_message(f"the row numbers in {table.path} are ignored")
    image_shape = shape or _default_shape(table, pixels)
    _check_shape(table, pixels, image_shape)
    key = f"pixels {_FORMAT} {image_shape} {content_key(table.path)}"

    def make(folder: Path) -> None:
        PixelWriter(table, pixels.positions, image_shape, folder).write(observer)

    folder = cached_copy(cache, table.path.name, key, make)
    report_notes(folder, observer)
    listing = index_listing(str(table.path), folder, labelled=labelled)
    report_unused_columns(table.path, listing.items, observer)
    if not labelled:
        return listing
    return replace(listing, items=clean_labels(str(table.path), listing.items, observer))


def _check_label(table: Table, pixels: PixelColumns, *, labelled: bool) -> None:
    if labelled and "label" not in table.columns:
        known = {table.columns[n] for n in pixels.positions}
        others = [name for name in table.columns if name not in known and name]
        also = f"; its other columns are {listed(others)}" if others else ""
        raise DataError(
            f"{table.path} has pixels, but no column 'label'{also}",
            hint="name the column of the labels 'label' in the first line; a table without labels"
            " can only be used with tltool predict",
        )


def _default_shape(table: Table, pixels: PixelColumns) -> Shape:
    """Return the shape defined by the column names, otherwise a square, grey or RGB."""
    if pixels.grid:
        return Shape(*pixels.grid, channels=1)
    count = len(pixels.positions)
    for channels in (1, 3):
        side = math.isqrt(count // channels)
        if side * side * channels == count and count:
            return Shape(side, side, channels, planes=None if channels == 3 else False)
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
