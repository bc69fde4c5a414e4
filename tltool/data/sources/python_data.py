"""Data of a Python program as a source: arrays, datasets of TensorFlow, tables of pandas.

The images are written once to the cache of sources, as PNG files with a table of their labels, so
that audit, split, manifest and reproduction work as for any other source.
"""

from __future__ import annotations

import csv
import hashlib
import itertools
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tltool.data.sources.python_images import png_bytes
from tltool.data.sources.source_cache import cached_copy
from tltool.data.sources.tables.column_names import standard_names
from tltool.errors import DataError, UsageError

_TABLE = "images.csv"
_SPLITS = ("train", "val", "validation", "test")
_KINDS = (
    "a path, a tf.data.Dataset, arrays (images, labels), a sequence or dataset with a length, or a "
    "pandas table of paths and labels"
)


def as_source(data: Any, *, class_names: Sequence[str] | None, cache: Path) -> str:
    """Return the source of ``data``: a path or name as it is, anything else written to ``cache``.

    Args:
        data: a path or the name of a source; or images with labels: a ``tf.data.Dataset``,
            ``(images, labels)`` arrays, any iterable of such pairs with a length (single images or
            batches); a pandas table with columns of paths and labels; or a mapping of ``train``,
            ``val`` and ``test`` to such. Images are integers or floats in 0..255, RGB or grey;
            labels are class names, numbers or one-hot vectors.
        class_names: names of the label numbers; by default the dataset's own ``class_names``, or
            the numbers.
        cache: folder of the copies.

    Raises:
        UsageError: it is nothing of these.
        DataError: an image or a label cannot be used.
        EnvironmentProblem: the copy cannot be written.
    """
    if isinstance(data, (str, Path)):
        if class_names is not None:
            raise UsageError(
                "class_names belongs to images given as arrays or datasets",
                hint="a folder has the names of its classes in itself",
            )
        return str(data)
    parts = dict(data) if isinstance(data, Mapping) else {"": data}
    if unknown := [name for name in parts if name not in ("", *_SPLITS)]:
        raise UsageError(
            f"data has the part {unknown[0]!r}", hint="use train, and val and test if you have them"
        )
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".partial-", dir=cache) as partial:
        folder = Path(partial)
        key = _write(parts, class_names, folder)

        def move(target: Path) -> None:
            for path in folder.iterdir():
                path.rename(target / path.name)

        return str(cached_copy(cache, "python-data", key, move) / _TABLE)


def _write(parts: Mapping[str, Any], class_names: Sequence[str] | None, folder: Path) -> str:
    """Write images and a table into ``folder``; return a key of their content."""
    digest, number = hashlib.sha256(), itertools.count()
    with (folder / _TABLE).open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file)
        table.writerow(["path", "label", *(["split"] if "" not in parts else [])])
        for split, part in parts.items():
            for path, label in _rows(part, split or "data", class_names, folder, number):
                row = [path, label, *([split] if split else [])]
                table.writerow(row)
                digest.update(repr(row).encode())
                if (folder / path).is_file():
                    digest.update((folder / path).read_bytes())
    return digest.hexdigest()


def _rows(
    part: Any, name: str, class_names: Sequence[str] | None, folder: Path, number: Iterator[int]
) -> Iterator[tuple[str, str]]:
    """Yield the path and the label of each image, which is written if it is no file yet."""
    if type(part).__module__.partition(".")[0] == "pandas":
        yield from _table_rows(part)
        return
    names = class_names if class_names is not None else getattr(part, "class_names", None)
    for position, (image, label) in enumerate(_pairs(part, name)):
        where = f"image {position} of {name}"
        path = f"{next(number):06d}.png"
        (folder / path).write_bytes(png_bytes(image, where=where))
        yield path, _label(label, names, where)


def _table_rows(table: Any) -> Iterator[tuple[str, str]]:
    columns = [str(column) for column in table.columns]
    renamed, _ = standard_names(Path("the table"), columns)
    position = {renamed.get(column, column): n for n, column in enumerate(columns)}
    if missing := [name for name in ("path", "label") if name not in position]:
        raise DataError(
            f"the table has no column {missing[0]!r}; its columns are {', '.join(columns)}",
            hint="name the columns path and label",
        )
    for row in table.itertuples(index=False, name=None):
        yield str(Path(str(row[position["path"]])).absolute()), str(row[position["label"]])


def _pairs(part: Any, name: str) -> Iterator[tuple[Any, Any]]:
    """Yield single images with their labels."""
    if isinstance(part, tuple) and len(part) == 2 and len(part[0]) != len(part[1]):
        raise DataError(
            f"{name} has {len(part[0])} images and {len(part[1])} labels",
            hint="give one label per image",
        )
    if isinstance(part, tuple) and len(part) == 2:
        yield from zip(part[0], part[1], strict=True)
        return
    for element in _elements(part, name):
        if not isinstance(element, (tuple, list)) or len(element) < 2:
            raise UsageError(
                f"{name} yields images without labels", hint="yield pairs of image and label"
            )
        image, label = np.asarray(element[0]), element[1]
        if image.ndim == 4:
            yield from zip(image, np.asarray(label), strict=True)
        else:
            yield image, label


def _elements(part: Any, name: str) -> Iterable[Any]:
    if hasattr(part, "as_numpy_iterator"):
        if int(part.cardinality()) == -1:  # tf.data.INFINITE_CARDINALITY
            raise UsageError(
                f"{name} is an infinite dataset", hint="leave out repeat(), or take(n)"
            )
        elements: Iterable[Any] = part.as_numpy_iterator()
        return elements
    if not hasattr(part, "__len__"):
        raise UsageError(
            f"{name} is of type {type(part).__name__}, without a length", hint=f"give {_KINDS}"
        )
    if hasattr(part, "__getitem__"):
        return (part[index] for index in range(len(part)))
    return itertools.islice(iter(part), len(part))


def _label(label: Any, names: Sequence[str] | None, where: str) -> str:
    if isinstance(label, bytes):
        return label.decode("utf-8")
    value = np.asarray(label)
    if value.dtype.kind in "US":
        return str(value)
    if value.ndim == 1 and value.size > 1:
        if not (np.isin(value, (0, 1)).all() and value.sum() == 1):
            raise DataError(
                f"{where} has the label {value.tolist()}, which is not one class",
                hint="a label is a class name, a number or a one-hot vector",
            )
        value = np.asarray(value.argmax())
    number = float(value.reshape(()).item()) if value.size == 1 else -1.0
    if number < 0 or number != int(number):
        raise DataError(
            f"{where} has the label {label!r}",
            hint="a label is a class name, a number from 0 or a one-hot vector",
        )
    if names is None:
        return str(int(number))
    if number >= len(names):
        raise DataError(
            f"{where} has the label {int(number)}, and class_names has {len(names)} names",
            hint="give one name per class",
        )
    return names[int(number)]
