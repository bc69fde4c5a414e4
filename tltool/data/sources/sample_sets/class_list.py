"""The names of numbered classes, from a file beside the data."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from tltool.data.sources.listing import split_named
from tltool.errors import DataError

_LISTS = ("classnames.txt", "classes.txt", "class_names.txt", "labels.txt")
_INFOS = ("dataset_info.json", "dataset_infos.json")
NAMES_FILES = (*_LISTS, *_INFOS)
"""Files that can have the names of classes, the first one found counts."""
_LARGEST = 1 << 24  # bytes


class ClassNames(NamedTuple):
    """The names of numbered classes.

    Attributes:
        names: in the order of the numbers.
        file: where they were found; None without names.
    """

    names: tuple[str, ...] = ()
    file: Path | None = None

    @property
    def note(self) -> str:
        """A sentence about the file, empty without one."""
        return f"the names of the classes are those in {self.file}" if self.file else ""


def names_beside(file: Path) -> ClassNames:
    """Return the class names in the folder of a shard; none without such a file.

    For a shard in a folder ``data`` or that of a split, the folder above is searched too.

    Known are ``classnames.txt``, ``classes.txt``, ``class_names.txt`` and ``labels.txt`` with one
    name per line, and ``dataset_info.json`` of Hugging Face with ``label.names``.

    Raises:
        DataError: such a file cannot be read, or has a name twice.
    """
    is_part = is_part_name(file.parent.name)
    for folder in (file.parent, *([file.parent.parent] if is_part else [])):
        for path in (folder / name for name in NAMES_FILES):
            if (text := _read(path)) is None:
                continue
            lines = tuple(line.strip() for line in text.splitlines() if line.strip())
            if names := lines if path.name in _LISTS else _label_names(text):
                _check_unique(path, names)
                return ClassNames(names, path)
    return ClassNames()


def is_part_name(folder: str) -> bool:
    """Return whether a folder has this name as a part of a data set, whose files are above it."""
    return folder == "data" or split_named(folder) is not None


def _check_unique(path: Path, names: Sequence[str]) -> None:
    name, count = Counter(names).most_common(1)[0]
    if count > 1:
        raise DataError(
            f"{path} has the name {name[:80]!r} {count} times, but classes need different names",
            hint="it must have one line per class; rename it if it is another list",
        )


def class_of(value: int, names: Sequence[str], *, where: str) -> str | None:
    """Return the name of a numbered class; None for -1, with which data sets mark no label.

    Raises:
        DataError: there is no such class.
    """
    if value == -1:
        return None
    if not names:
        return str(value)
    if 0 <= value < len(names):
        return names[value]
    raise DataError(
        f"{where}: the label is {value}, but there are {len(names)} class names",
        hint="class names are numbered from 0; check the list of names",
    )


def names_of_feature(feature: Any) -> tuple[str, ...]:
    """Return the names of a ``ClassLabel`` in the features of Hugging Face; empty for others.

    Source: https://huggingface.co/docs/datasets/about_dataset_features
    """
    if not isinstance(feature, dict):
        return ()
    feature = feature.get("class_label", feature)
    names = feature.get("names") if isinstance(feature, dict) else None
    if isinstance(names, dict):  # of the metadata of a dataset card: {"0": "cat", "1": "dog"}
        names = [names[key] for key in sorted(names, key=lambda key: int(key))]
    if isinstance(names, list) and names and all(isinstance(name, str) for name in names):
        return tuple(names)
    return ()


def _label_names(text: str) -> tuple[str, ...]:
    try:
        document = json.loads(text)
    except (ValueError, RecursionError):
        return ()
    configs = [document, *(document.values() if isinstance(document, dict) else ())]
    for config in configs:
        features = config.get("features") if isinstance(config, dict) else None
        if isinstance(features, dict):
            names = [found for each in features.values() if (found := names_of_feature(each))]
            if len(names) == 1:
                return names[0]
    return ()


def _read(path: Path) -> str | None:
    try:
        if not os.path.isfile(path) or path.stat().st_size > _LARGEST:  # noqa: PTH113
            return None
        return path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path} cannot be read: {error}", hint="save it as UTF-8") from None
