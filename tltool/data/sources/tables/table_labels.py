"""Labels of a table as people write them: in quotes, whole numbers with .0, lists of classes."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from tltool.data.catalog import Item
from tltool.data.sources.class_names import whole_number
from tltool.errors import DataError
from tltool.events import Observer

_NUMBER = re.compile(r"-?[0-9]+(\.[0-9]*)?")
_QUOTED = re.compile(r"""(['"`])\s*(?=\S)((?:(?!\1).)+?)\s*\1""")
_CURLY_QUOTES = re.compile(r"[“„«‘‚]\s*(?=\S)([^“”„«»‘’‚]+?)\s*[”“»’‘]")
# as Python prints a byte string, and a number of NumPy or PyTorch
_PRINTED = re.compile(r"""b(?=['"])(.+)|(?:(?:np|numpy)\.\w+|tensor)\((.+)\)""")
_NUMBERS = re.compile(r"\s*[0-9.]+(\s*[|; ]\s*[0-9.]+)+\s*")
_LIST = re.compile(r"\[\s*(.*?)\s*,?\s*\]")
_SEVERAL = re.compile(r"""[,'"`]""")
_LIST_SEPARATORS = "|;,"


def is_folder_of(text: str, path: str) -> bool:
    """Return whether a text is the name of a folder in a path, which makes it a class name."""
    return text in re.split(r"[\\/]", path)[:-1]


def clean_labels(source: str, items: Sequence[Item], observer: Observer) -> tuple[Item, ...]:
    """Return the items of a table with labels such as ``1.0`` read as ``1``.

    The labels are changed if all of them are whole numbers, or if the class ``1`` exists too.
    Quotes and brackets around all labels (``'a'``, ``['a']``, ``b'a'``) are removed. Labels are
    class names, and stay as they are, if they are also the folders of the images.

    Raises:
        DataError: labels are lists of classes, such as ``a|b``.
    """
    items = _without_frames(source, items, observer)
    labels = {item.label for item in items}
    _reject_lists(source, labels)
    all_numbers = all(map(_is_whole, labels))
    renamed = {
        label: number
        for label in labels
        if (number := whole_number(label)) != label and (all_numbers or number in labels)
    }
    return _renamed(source, items, renamed, observer)


def _renamed(
    source: str, items: Sequence[Item], renamed: Mapping[str, str], observer: Observer
) -> tuple[Item, ...]:
    """Return the items with other labels, and report it; folders of the images are class names."""
    are_folders = all(i.label in i.path.parts[:-1] for i in items if i.label in renamed)
    if not renamed or are_folders:
        return tuple(items)
    label, new = min(renamed.items())
    observer.on_message(f"labels of {source} such as {label!r} are read as {new!r}")
    return tuple(replace(item, label=renamed.get(item.label, item.label)) for item in items)


def _without_frames(source: str, items: Sequence[Item], observer: Observer) -> tuple[Item, ...]:
    """Return the items without quotes, or brackets of a list of one class, around all labels.

    Raises:
        DataError: all labels are lists, and some name several classes or none.
    """
    labels = {item.label for item in items}
    brackets = {label: _LIST.fullmatch(label) for label in labels}
    lists = {label: match[1] for label, match in brackets.items() if match}
    if not lists or len(lists) < len(labels):
        return _renamed(source, items, _unquoted(labels), observer)
    renamed = {label: _QUOTED.sub(r"\2", text) for label, text in lists.items()}
    for label, text in lists.items():
        if not _QUOTED.fullmatch(text) and (not text or _SEVERAL.search(text)):
            raise _not_one_class(source, label, "keep one label", several=bool(text))
    return _renamed(source, items, renamed, observer)


def _unquoted(labels: Iterable[str]) -> dict[str, str]:
    """Return the labels without what is around all of them, else nothing.

    These are quotes, also curly ones, and what Python prints around values: ``b'a'``,
    ``np.int64(0)``, ``tensor(0)``.
    """
    labels = list(labels)
    without = {label: _unframed(label) for label in labels}
    return without if all(text != label for label, text in without.items()) else {}


def _unframed(label: str) -> str:
    if printed := _PRINTED.fullmatch(label):
        label = printed[1] or printed[2]
    if match := _QUOTED.fullmatch(label):
        return match[2]
    curly = _CURLY_QUOTES.fullmatch(label)
    return curly[1] if curly else label


def _is_whole(label: str) -> bool:
    return _NUMBER.fullmatch(whole_number(label)) is not None and "." not in whole_number(label)


def _reject_lists(source: str, labels: Iterable[str]) -> None:
    """Reject labels that combine several classes.

    A separator in a class name is allowed. Labels are lists if the parts of most of them occur in
    other labels too, or if all are probabilities such as ``0.9|0.1``.
    """
    labels = sorted(labels)
    if labels and all(map(_NUMBERS.fullmatch, labels)) and any("." in label for label in labels):
        raise _not_one_class(source, labels[0], "keep the most probable class")
    for separator in _LIST_SEPARATORS:
        parts = {label: [part.strip() for part in label.split(separator)] for label in labels}
        lists = {label: names for label, names in parts.items() if len(names) > 1}
        counts = Counter(name for names in parts.values() for name in set(names) if name)
        repeated = [label for label, names in lists.items() if any(counts[n] > 1 for n in names)]
        if len(lists) > 1 and 2 * len(repeated) > len(lists):
            mend = f"keep one label, or write combinations without {separator!r}"
            raise _not_one_class(source, repeated[0], mend)


def _not_one_class(source: str, label: str, mend: str, *, several: bool = True) -> DataError:
    named = "several classes for one image" if several else "no class"
    return DataError(
        f"{source}: labels such as {label[:80]!r} name {named}",
        hint=f"tltool trains classifiers with one label per image (multi-label is another task):"
        f" {mend}",
    )
