"""Which columns of a Parquet file are the image and its label."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tltool.data.sources.class_names import is_missing
from tltool.data.sources.listing import class_name, listed
from tltool.data.sources.sample_sets.class_list import class_of, names_beside, names_of_feature
from tltool.data.sources.tables.column_names import LABEL_NAMES
from tltool.errors import DataError, did_you_mean

_IMAGE_NAMES = ("image", "img", "photo", "picture", "jpg", "png", "bytes", "image_bytes")
_HINT = "the image column must hold the bytes of image files, the label column one class per row"


@dataclass(frozen=True)
class ImageColumns:
    """The columns of a Parquet file that are read.

    Attributes:
        image: bytes of image files, or Hugging Face's struct of bytes and path.
        label: the classes; None without labels.
        names: of the classes, if labels are numbers.
        others: further columns with single values.
        notes: what was assumed, one sentence each.
    """

    image: str
    label: str | None
    names: tuple[str, ...] = ()
    others: tuple[str, ...] = ()
    notes: list[str] = field(default_factory=list)

    @property
    def all(self) -> tuple[str, ...]:
        """All columns that are read."""
        return (self.image, *([self.label] if self.label else []), *self.others)


def find_columns(path: Path, schema: Any, chosen: str | None, *, labelled: bool) -> ImageColumns:
    """Find the columns of the image and the label.

    Names and classes come from the schema's metadata ``huggingface`` if it has them, otherwise from
    the types and names of the columns.

    Args:
        path: the file, for the errors.
        schema: a ``pyarrow.Schema``.
        chosen: the user's column of labels, or None.
        labelled: whether a label is required.

    Raises:
        DataError: there is no such column, or several can be meant.
    """
    features = _features(schema)
    image = _image_column(path, schema, features)
    notes: list[str] = []
    label = _label_column(path, schema, features, chosen, labelled=labelled, notes=notes)
    names: tuple[str, ...] = ()
    if label is not None:
        _check_single(path, schema, label)
        names = names_of_feature(features.get(label))
        if not names and _is_integer(schema.field(label).type):
            found = names_beside(path)
            names = found.names
            notes += filter(None, [found.note])
    others = tuple(
        name for name in schema.names if name not in (image, label) and _is_simple(schema, name)
    )
    return ImageColumns(image, label, names, others, notes)


def label_of(value: Any, columns: ImageColumns, *, where: str) -> str | None:
    """Return the class of a cell; None without a label.

    Raises:
        DataError: there is no class of this number, or a name is not valid.
    """
    if value is None or (isinstance(value, float) and value != value):
        return None
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, int) and not isinstance(value, bool):
        return class_of(value, columns.names, where=where)
    text = value.decode(errors="surrogateescape") if isinstance(value, bytes) else str(value)
    text = text.strip()
    if not text or is_missing(text):
        return None
    return class_name(text, described_as=f"the class in {where}")


def _features(schema: Any) -> dict[str, Any]:
    """Return the features in the metadata of Hugging Face; empty without."""
    try:
        document = json.loads((schema.metadata or {})[b"huggingface"])
        features = document["info"]["features"]
    except (KeyError, TypeError, ValueError, RecursionError):
        return {}
    return features if isinstance(features, dict) else {}


def _image_column(path: Path, schema: Any, features: dict[str, Any]) -> str:
    columns: list[str] = schema.names
    images = [
        name
        for name in columns
        if isinstance(features.get(name), dict) and features[name].get("_type") == "Image"
    ]
    images = images or [name for name in columns if _has_bytes(schema.field(name).type)]
    named = [name for name in images if name.lower() in _IMAGE_NAMES]
    chosen = images if len(images) == 1 else named
    if len(chosen) == 1:
        return chosen[0]
    if images:
        raise DataError(
            f"{path} has several columns of images: {listed(images)}",
            hint="rename one of them to 'image', or remove the others",
        )
    raise DataError(
        f"{path} has no column with the bytes of images; its columns are"
        f" {listed([f'{one.name} ({one.type})' for one in schema])}",
        hint=_HINT,
    )


def _label_column(
    path: Path,
    schema: Any,
    features: dict[str, Any],
    chosen: str | None,
    *,
    labelled: bool,
    notes: list[str],
) -> str | None:
    columns: list[str] = schema.names
    if chosen is not None:
        if chosen not in columns:
            near = did_you_mean(chosen, columns)
            raise DataError(
                f"{path} has no column {chosen!r}; its columns are {listed(columns)}.{near}",
                hint="the text after # is the column of the labels",
            )
        return chosen
    classes = [name for name in columns if names_of_feature(features.get(name))]
    candidates = (
        [name for name in columns if name.lower() in ("label", "labels")]
        or classes
        or [name for name in columns if name.lower() in LABEL_NAMES]
    )
    if len(candidates) == 1:
        if others := [name for name in classes if name != candidates[0]]:
            notes.append(
                f"the labels are the column {candidates[0]!r}, not {listed(others)}; to use"
                f" another, name it after the path: #{others[0]}"
            )
        return candidates[0]
    if labelled:
        raise _no_label(path, columns, candidates)
    return None


def _no_label(path: Path, columns: Sequence[str], candidates: Sequence[str]) -> DataError:
    if candidates:
        return DataError(
            f"{path} has several columns of labels: {listed(candidates)}",
            hint=f"name one after the path: parquet:PATH#{candidates[0]}",
        )
    return DataError(
        f"{path} has no column of labels; its columns are {listed(columns)}",
        hint="name it after the path: parquet:PATH#COLUMN; captions and boxes are no labels",
    )


def _check_single(path: Path, schema: Any, label: str) -> None:
    if not _is_simple(schema, label) and not _has_bytes(schema.field(label).type):
        raise DataError(
            f"{path}: the labels in {label!r} have the type {schema.field(label).type}, not one"
            " class per image",
            hint="tltool trains classifiers with one label per image",
        )


def _has_bytes(kind: Any) -> bool:
    import pyarrow.types as types

    if types.is_struct(kind):
        return any(
            each.name == "bytes" and _has_bytes(each.type)
            for each in (kind.field(n) for n in range(kind.num_fields))
        )
    return bool(types.is_binary(kind) or types.is_large_binary(kind))


def _is_integer(kind: Any) -> bool:
    import pyarrow.types as types

    return bool(types.is_integer(kind) or types.is_floating(kind))


def _is_simple(schema: Any, name: str) -> bool:
    import pyarrow.types as types

    kind = schema.field(name).type
    if types.is_dictionary(kind):
        kind = kind.value_type
    tests: Sequence[Any] = (types.is_string, types.is_large_string, types.is_boolean)
    return _is_integer(kind) or any(test(kind) for test in tests)
