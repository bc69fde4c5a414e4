"""Data sets in shards of samples (Parquet, WebDataset), converted to image files in the cache."""

from __future__ import annotations

import io
import json
import os
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from tltool.data.catalog import Item
from tltool.data.sources.archives.extraction_target import ExtractionTarget
from tltool.data.sources.listing import Listing, split_named
from tltool.data.sources.sample_sets.shards import Shard, ShardSet
from tltool.data.sources.source_cache import cached_copy, content_key
from tltool.data.sources.tables.cache_index import (
    INDEX_OF_SAMPLES,
    index_listing,
    report_notes,
    write_notes,
)
from tltool.data.sources.tables.column_names import ROW_NUMBERS
from tltool.data.sources.tables.table_columns import report_unused_columns
from tltool.data.sources.tables.table_labels import clean_labels
from tltool.errors import DataError
from tltool.events import Observer

_FORMAT = 1  # of the cached copies; increment when their content changes
_PROGRESS = 100


@dataclass(frozen=True)
class Sample:
    """One image of a shard.

    Attributes:
        name: of its file, with extension; unique in its shard.
        data: the bytes of the image file.
        label: name of the class; None without a label.
        columns: further values, which slice the evaluation; also a group and a split.
    """

    name: str
    data: bytes
    label: str | None
    columns: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class SampleReader:
    """How the samples of a data set are read.

    Attributes:
        key: identifies the settings of ``read``, such as the column of the labels.
        read: yields the samples of a shard; the target is for checks of size and number.
        notes: what was assumed, one sentence each; complete after the last sample.
        place_of_labels: where labels belong, for the hint if there is none; may be empty.
    """

    key: str
    read: Callable[[Shard, ExtractionTarget], Iterator[Sample]]
    notes: list[str]
    place_of_labels: str = ""


def list_samples(
    source: str,
    shards: ShardSet,
    reader: SampleReader,
    *,
    labelled: bool,
    cache: Path,
    observer: Observer,
) -> Listing:
    """List the images of a data set in shards, which are written to the cache once.

    A split without any label, such as the test split of a contest, is left out, unless no label is
    required.

    Args:
        source: as the user named it.
        shards: its files.
        reader: reads them.
        labelled: whether labels are required.
        cache: folder of the copies.
        observer: receives the progress and the notes.

    Raises:
        DataError: the files are damaged or without labels, or are larger than is plausible.
        EnvironmentProblem: the copy cannot be written.
    """
    contents = [f"{one.name} {one.split} {content_key(one.path)}" for one in shards.shards]
    key = "\n".join([f"samples {_FORMAT} {reader.key}", *contents])

    def make(folder: Path) -> None:
        observer.on_message(f"writing the images of {source} to {cache}")
        _write(shards.shards, reader, folder, observer)
        unused = [f"files of {source} in no split are not used: {', '.join(shards.unused[:8])}"]
        write_notes(folder, [*dict.fromkeys(reader.notes), *(unused if shards.unused else [])])

    folder = cached_copy(cache, shards.shards[0].name.replace("/", "-"), key, make)
    report_notes(folder, observer)
    listing = index_listing(source, folder, labelled=False, are_names=True)
    if not labelled:
        return listing
    items = _with_labels(source, listing, reader.place_of_labels, observer)
    report_unused_columns(source, items, observer)
    return replace(listing, items=clean_labels(source, items, observer))


def _write(shards: Sequence[Shard], reader: SampleReader, folder: Path, observer: Observer) -> None:
    """Write one image file per sample, and an index."""
    count = 0
    with (folder / INDEX_OF_SAMPLES).open("w", encoding="utf-8") as index:
        for shard in shards:
            target = ExtractionTarget(shard.path, folder)
            for sample in reader.read(shard, target):
                count += 1
                path = f"{shard.name}/{sample.name}"
                _write_image(folder, path, sample.data, target)
                others = {k: v for k, v in sample.columns.items() if not _is_reserved(k, v)}
                split = {"split": shard.split} if shard.split else {}
                row = {**others, **split, "path": path, "label": sample.label}
                index.write(json.dumps(row) + "\n")
                if count % _PROGRESS == 0:
                    observer.on_progress(count, count)


def _write_image(folder: Path, path: str, data: bytes, target: ExtractionTarget) -> None:
    if os.path.exists(folder / path):  # noqa: PTH110  (Path.exists raises on long names)
        raise DataError(
            f"{target.archive} contains two samples named {path!r}",
            hint="the files of a sample must follow each other; give each sample its own name",
        )
    target.write(path, io.BytesIO(data))


def _is_reserved(name: str, value: str) -> bool:
    """Return whether a column has another meaning in an index, or is the row numbers of pandas.

    Weights and folds are not those of tltool; a split counts only by its usual names.
    """
    name = name.strip().lower()
    if name == "split":
        return split_named(value.strip()) is None
    reserved = ("path", "label", "line", "weight", "fold", *ROW_NUMBERS)
    return name in reserved or name.startswith("__index_level_")


def _with_labels(
    source: str, listing: Listing, place_of_labels: str, observer: Observer
) -> tuple[Item, ...]:
    """Return the labelled items; only whole splits may have no label."""
    total = Counter(item.given_split for item in listing.items)
    unlabelled = Counter(item.given_split for item in listing.items if not item.label)
    if listing.items and len(listing.items) == unlabelled.total():
        raise DataError(
            f"{source}: no image has a label",
            hint=f"{place_of_labels}a data set without labels can only be used with tltool predict",
        )
    for split, count in unlabelled.items():
        if count < total[split]:
            example = next(i for i in listing.items if not i.label and i.given_split == split)
            raise DataError(
                f"{source}: {count:,} of {total[split]:,} images have no label, such as"
                f" {example.path.relative_to(listing.root)}",
                hint="leave them out of the data set, or give them labels",
            )
        observer.on_message(
            f"the {count:,} {split} images of {source} have no labels and are not used;"
            " tltool predict can classify them",
            level="warning",
        )
    return tuple(item for item in listing.items if item.label)
