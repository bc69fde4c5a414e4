"""Lists data sets in Parquet files with the bytes of images, as the Hugging Face Hub stores them.

Source: https://huggingface.co/docs/datasets/image_dataset and
https://parquet.apache.org/docs/file-format/
"""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tltool.data.sources.archives.extraction_target import ExtractionTarget
from tltool.data.sources.listing import Listing
from tltool.data.sources.sample_sets.class_list import names_beside
from tltool.data.sources.sample_sets.image_type import image_extension
from tltool.data.sources.sample_sets.parquet_columns import ImageColumns, find_columns, label_of
from tltool.data.sources.sample_sets.sample_set import Sample, SampleReader, list_samples
from tltool.data.sources.sample_sets.shards import Shard, ShardSet, find_shards
from tltool.errors import DataError, EnvironmentProblem
from tltool.events import Observer
from tltool.recipe.source_text import PARQUET
from tltool.runs.install_hint import install_hint

EXTENSIONS = (".parquet",)
_ROWS = 16  # read at once; an image may have many megabytes
_BUFFER = 1 << 20  # bytes; without it, pyarrow reads whole groups of rows


def find_parquet(source: str) -> tuple[ShardSet, str | None]:
    """Return the files of a source ``parquet:PATH`` or ``parquet:PATH#COLUMN``, and the column.

    Raises:
        DataError: there are none, or some of a series are missing.
    """
    location, column = split_column(source.removeprefix(PARQUET))
    return find_shards(source, location, EXTENSIONS), column


def split_column(text: str) -> tuple[str, str | None]:
    """Return path and column of ``PATH#COLUMN``; a path that exists may contain ``#``."""
    if "#" not in text or Path(text).exists():
        return text, None
    path, _, column = text.rpartition("#")
    return path, column


def list_parquet(source: str, *, labelled: bool, cache: Path, observer: Observer) -> Listing:
    """List the images of Parquet files.

    Args:
        source: ``parquet:PATH`` with a file, folder or pattern, or the path of a file.
        labelled: whether labels are required.
        cache: folder of the copies.
        observer: receives the progress.

    Raises:
        DataError: the files have no images or labels, or cannot be read.
        EnvironmentProblem: pyarrow is not installed, or the copy cannot be written.
    """
    shards, column = find_parquet(source)
    if labelled:
        with _opened(shards.shards[0].path) as file:
            find_columns(shards.shards[0].path, file.schema_arrow, column, labelled=True)
    notes: list[str] = []

    def read(shard: Shard, target: ExtractionTarget) -> Iterator[Sample]:
        return _read_samples(shard, target, column, notes)

    reader = SampleReader(
        f"parquet {column} {names_beside(shards.shards[0].path).names}", read, notes
    )
    return list_samples(source, shards, reader, labelled=labelled, cache=cache, observer=observer)


def _read_samples(
    shard: Shard, target: ExtractionTarget, column: str | None, notes: list[str]
) -> Iterator[Sample]:
    row = 0
    with _opened(shard.path) as file:
        columns = find_columns(shard.path, file.schema_arrow, column, labelled=False)
        notes += columns.notes
        for batch in file.iter_batches(batch_size=_ROWS, columns=list(columns.all)):
            for values in batch.to_pylist():
                row += 1
                yield _sample(shard.path, row, values, columns, target)


def _sample(
    path: Path, row: int, values: dict[str, Any], columns: ImageColumns, target: ExtractionTarget
) -> Sample:
    where = f"{path}, row {row}"
    image = values[columns.image]
    data = image.get("bytes") if isinstance(image, dict) else image
    if not data and isinstance(image, dict) and image.get("path"):
        raise DataError(
            f"{where} has the path of an image ({image['path'][:80]!r}), but not its bytes",
            hint="embed the images (datasets: embed_table_storage), or write a table with the"
            " columns path,label",
        )
    data = bytes(data or b"")  # the audit reports an empty file
    target.announce(len(data))
    label = label_of(values.get(columns.label), columns, where=where) if columns.label else None
    others = {name: str(values[name]) for name in columns.others if values[name] is not None}
    return Sample(f"{row:06d}.{image_extension(data)}", data, label, others)


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    """Open a file as ``pyarrow.parquet.ParquetFile``; its errors, also OSErrors, are DataErrors."""
    if importlib.util.find_spec("pyarrow") is None:
        raise EnvironmentProblem(
            "a Parquet file is read with pyarrow, which is not installed",
            hint=install_hint("parquet"),
        )
    import pyarrow
    import pyarrow.parquet

    try:
        with pyarrow.parquet.ParquetFile(path, buffer_size=_BUFFER, pre_buffer=False) as file:
            yield file
    except (pyarrow.ArrowException, OSError) as error:
        reason = " ".join(str(error).split())[:200]
        raise DataError(
            f"{path} cannot be read as Parquet: {reason}", hint="download or write it again"
        ) from None
