"""The names of the columns of a table, and other usual names for them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from tltool.data.sources.tables.pixel_columns import count_pixels

_SEPARATORS = re.compile(r"[\s_-]+")
_OTHER_NAMES: Mapping[str, tuple[tuple[str, ...], ...]] = {
    # in order: a name of a later group counts only where there is none of an earlier group
    "path": (
        (
            *("file_name", "filename", "file", "file_path", "filepath", "image_path", "img_path"),
            *("image_file", "image_name", "image", "img", "image_id"),
        ),
        ("id",),
    ),
    "label": (("class", "class_name", "classname", "category", "target", "label_name", "emotion"),),
}
LABEL_NAMES = ("label", *_OTHER_NAMES["label"][0])
"""Names of a column with the class."""
PIXEL_CELLS = ("pixels", "pixel", "pixel_values")
"""Names of a column that has all pixels of an image in one cell."""
ROW_NUMBERS = ("", "unnamed: 0", "unnamed: 0.1")
"""Names of the column of row numbers that pandas writes."""
_NO_LABELS = frozenset(
    {"text", "caption", "captions", "prompt", "description", "notes", "url", "tags", "keywords"}
    | {"objects", "boxes", "bbox", "segmentation", "mask", "keypoints", "width", "height"}
)
_META = ("label", "split", "group", "weight", "fold")
KNOWN_NAMES = frozenset(
    {name for groups in _OTHER_NAMES.values() for group in groups for name in group}
    | {"path", *_META, *PIXEL_CELLS}
)


def standard_names(path: Path, columns: Sequence[str]) -> tuple[dict[str, str], list[str]]:
    """Return which columns are read under another name, and a sentence about each.

    A name is replaced only if the column ``path`` or ``label`` is missing and exactly one column
    can be meant. A table of pixels needs no path. Beside the path, a single column is the label,
    unless its name is that of a text, box or the like.
    """
    names_of_files = _OTHER_NAMES["path"][0]
    has_pixels = count_pixels(columns) > 1 or (
        not set(PIXEL_CELLS).isdisjoint(columns) and set(names_of_files).isdisjoint(columns)
    )
    renamed: dict[str, str] = {}
    for standard, groups in _OTHER_NAMES.items():
        if standard in columns or (standard == "path" and has_pixels):
            continue
        present = [[name for name in columns if _is_in(name, group)] for group in groups]
        names = next((names for names in present if names), [])
        if len(names) == 1:
            renamed[names[0]] = standard
    if only := _only_label([renamed.get(name, name) for name in columns]):
        renamed[only] = "label"
    return renamed, [
        f"the column '{name}' of {path} is read as the {standard}"
        for name, standard in renamed.items()
    ]


def _only_label(columns: Sequence[str]) -> str | None:
    """Return the only column beside the path, if it can be the label."""
    others = [name for name in columns if name not in ("path", *ROW_NUMBERS)]
    if "path" not in columns or len(others) != 1 or others[0] in (*_META, *_NO_LABELS):
        return None
    return others[0]


def is_other_name(name: str, standard: str) -> bool:
    """Return whether a column has a usual other name of the column ``path`` or ``label``."""
    return any(_is_in(name, group) for group in _OTHER_NAMES.get(standard, ()))


def _is_in(name: str, group: Sequence[str]) -> bool:
    """Return whether a name is one of a group, without case, blanks, underscores and hyphens."""
    return _SEPARATORS.sub("", name.lower()) in {_SEPARATORS.sub("", each) for each in group}
