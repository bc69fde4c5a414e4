"""Lists data sets in the format of WebDataset: tar archives of samples.

The files of a sample follow each other and share their name up to the first dot: ``0001.jpg``,
``0001.cls``. Source: https://github.com/webdataset/webdataset
"""

from __future__ import annotations

import json
import tarfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from tltool.data.sources.archives.archive import damage_as_data_error
from tltool.data.sources.archives.extraction_target import ExtractionTarget
from tltool.data.sources.archives.tar_stream import tar_members
from tltool.data.sources.class_names import is_missing, whole_number
from tltool.data.sources.listing import Listing, class_name, listed
from tltool.data.sources.sample_sets.class_list import class_of, names_beside
from tltool.data.sources.sample_sets.parquet import split_column
from tltool.data.sources.sample_sets.sample_set import Sample, SampleReader, list_samples
from tltool.data.sources.sample_sets.shards import Shard, ShardSet, find_shards
from tltool.data.sources.tables.column_names import LABEL_NAMES
from tltool.data.sources.tables.file_index import is_image_name
from tltool.errors import DataError
from tltool.events import Observer
from tltool.recipe.source_text import WDS

EXTENSIONS = (".tar", ".tar.gz", ".tgz")
_CLASS = "cls"
_JSON = "json"
_NAMES = "the name of a sample ends at its first dot, so write 1_5.jpg for 1.5.jpg"
_PLACE_OF_LABELS = (
    f"the label of 0001.jpg belongs in 0001.cls, not in .txt, or in 0001.json as label; {_NAMES}; "
)
_LARGEST_IMAGE = 1 << 29  # bytes
_LARGEST_TEXT = 1 << 20
_MOST_IMAGES = 16  # of one sample, which are kept in memory


@dataclass
class _Parts:
    """The files of one sample.

    Attributes:
        key: their common name.
        images: (extension, name, bytes) of the images.
        texts: the content of ``.cls`` and ``.json``, by extension.
        others: extensions of the other files.
    """

    key: str
    images: list[tuple[str, str, bytes]] = field(default_factory=list)
    texts: dict[str, bytes] = field(default_factory=dict)
    others: list[str] = field(default_factory=list)


def find_webdataset(source: str) -> tuple[ShardSet, str | None]:
    """Return the archives of a source ``wds:PATH`` or ``wds:PATH#FIELD``, and the field of JSON.

    Raises:
        DataError: there are none, or some of a series are missing.
    """
    location, column = split_column(source.removeprefix(WDS))
    return find_shards(source, location, EXTENSIONS), column


def list_webdataset(source: str, *, labelled: bool, cache: Path, observer: Observer) -> Listing:
    """List the images of tar archives of samples.

    Labels are in ``.cls`` (a number or a name), or in ``.json`` as ``label`` or ``class``.
    Names of numbered classes are read from ``classnames.txt`` or ``dataset_info.json`` beside the
    archives.

    Args:
        source: ``wds:PATH`` with a file, folder or pattern such as ``train-{000..011}.tar``.
        labelled: whether labels are required.
        cache: folder of the copies.
        observer: receives the progress.

    Raises:
        DataError: the archives have no images or labels, or cannot be read.
        EnvironmentProblem: the copy cannot be written.
    """
    shards, column = find_webdataset(source)
    found = {shard.path.parent: names_beside(shard.path) for shard in shards.shards}
    notes = [each.note for each in found.values() if each.file]
    names = {folder: each.names for folder, each in found.items()}

    def read(shard: Shard, target: ExtractionTarget) -> Iterator[Sample]:
        for parts in _read_parts(shard.path, target):
            yield from _sample(shard.path, parts, names[shard.path.parent], column, notes)

    key = f"wds {column} {sorted(set(names.values()))}"
    reader = SampleReader(key, read, notes, _PLACE_OF_LABELS)
    return list_samples(source, shards, reader, labelled=labelled, cache=cache, observer=observer)


def _read_parts(path: Path, target: ExtractionTarget) -> Iterator[_Parts]:
    """Yield the samples of an archive."""
    parts: _Parts | None = None
    with damage_as_data_error(path):
        for member, source in tar_members(path, target):
            if source is None:
                raise DataError(
                    f"{path} contains the link {member.name[:80]!r}", hint="store the file itself"
                )
            folder, _, name = member.name.removeprefix("./").rpartition("/")
            stem, dot, extension = name.partition(".")
            if not dot or not stem:  # a hidden file, or one of the whole data set
                continue
            key = f"{folder}/{stem}" if folder else stem
            if parts is None or parts.key != key:
                if parts is not None:
                    yield parts
                parts = _Parts(key)
            _add(parts, path, member, extension.lower(), source)
        if parts is not None:
            yield parts


def _add(
    parts: _Parts, path: Path, member: tarfile.TarInfo, extension: str, source: IO[bytes]
) -> None:
    """Read a file of a sample, if it is an image or can have the label."""
    is_text = extension in (_CLASS, _JSON)
    if not is_text and not is_image_name(f"x.{extension}"):
        parts.others.append(extension)
        return
    limit = _LARGEST_TEXT if is_text else _LARGEST_IMAGE
    if member.size > limit:
        raise DataError(
            f"{path}: {member.name[:80]!r} has {member.size / 2**20:,.0f} MB,"
            f" more than {limit / 2**20:,.0f} MB",
            hint="remove it from the archive",
        )
    data = source.read()
    if len(parts.images) >= _MOST_IMAGES or extension in parts.texts:
        raise DataError(
            f"{path}: the sample {parts.key[:80]!r} has too many files",
            hint="the name of a sample ends at the first dot; each of its files needs its own"
            " extension",
        )
    if is_text:
        parts.texts[extension] = data
    else:
        parts.images.append((extension, member.name.removeprefix("./"), data))


def _sample(
    path: Path, parts: _Parts, names: tuple[str, ...], column: str | None, notes: list[str]
) -> Iterator[Sample]:
    """Yield the sample of an image; nothing for a group of files without one."""
    if not parts.images:
        if parts.texts:
            found = [*parts.texts, *parts.others]
            raise DataError(
                f"{path}: the sample {parts.key[:80]!r} has no image, only {listed(found)}",
                hint="the files of a sample must follow each other and have the same name up to the"
                " first dot",
            )
        return
    name, data = _image(path, parts, notes)
    where = f"{path}, sample {parts.key[:80]!r}"
    fields = _fields(parts.texts.get(_JSON), where=where)
    label = _label(parts, fields, names, column, where=where)
    columns = {key: str(value) for key, value in fields.items() if _is_simple(value)}
    yield Sample(name, data, label, columns)


def _image(path: Path, parts: _Parts, notes: list[str]) -> tuple[str, bytes]:
    """Return name and bytes of the image; of several the one without further text (``.jpg``)."""
    plain = [image for image in parts.images if "." not in image[0]]
    chosen = parts.images if len(parts.images) == 1 else plain
    if len(chosen) != 1:
        raise DataError(
            f"{path}: the sample {parts.key[:80]!r} has several images:"
            f" {listed([extension for extension, _, _ in parts.images])}",
            hint=f"a sample must have one image, such as .jpg; {_NAMES}",
        )
    extension, name, data = chosen[0]
    if len(parts.images) > 1:
        others = [other for other, _, _ in parts.images if other != extension]
        notes.append(f"of several images of a sample only .{extension} is used, not .{others[0]}")
    return name, data


def _fields(data: bytes | None, *, where: str) -> Mapping[str, Any]:
    """Return the object in a ``.json`` file; empty without one."""
    if data is None:
        return {}
    try:
        fields = json.loads(data)
    except (ValueError, RecursionError):
        raise DataError(f"{where}: the .json file is not valid JSON") from None
    return fields if isinstance(fields, dict) else {"label": fields}


def _label(
    parts: _Parts,
    fields: Mapping[str, Any],
    names: tuple[str, ...],
    column: str | None,
    *,
    where: str,
) -> str | None:
    """Return the class of a sample; None without a label."""
    if column is not None:
        return _class(fields.get(column), names, where=where)
    if _CLASS in parts.texts:
        try:
            return _class(parts.texts[_CLASS].decode().strip(), names, where=where)
        except UnicodeDecodeError:
            raise DataError(f"{where}: the .cls file is not text in UTF-8") from None
    present = [name for name in LABEL_NAMES if name in fields]
    return _class(fields[present[0]], names, where=where) if present else None


def _class(value: Any, names: tuple[str, ...], *, where: str) -> str | None:
    if isinstance(value, list | dict):
        raise DataError(
            f"{where}: the label is a list or an object, not one class",
            hint="tltool trains classifiers with one label per image",
        )
    text = "" if value is None else str(value).strip()
    text = whole_number(text) if isinstance(value, float) else text
    if not text or is_missing(text):
        return None
    number = text.removeprefix("-")
    if number.isascii() and number.isdecimal() and len(number) < 10:
        return class_of(int(text), names, where=where)
    return class_name(text, described_as=f"the class in {where}")


def _is_simple(value: Any) -> bool:
    return isinstance(value, str | int | float)
