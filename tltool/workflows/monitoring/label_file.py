"""Labels that arrive later: a CSV table with the path and the class of images."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePath

import numpy as np
from numpy.typing import NDArray

from tltool.data.sources.tables.column_names import standard_names
from tltool.errors import DataError, UsageError, counted, did_you_mean
from tltool.events import Observer
from tltool.runs.csv_cells import csv_rows

_HINT = "give a CSV table with the columns path and label"


def check_label_file(path: Path) -> None:
    """Check that a table of labels exists.

    Raises:
        UsageError: it does not.
    """
    if not path.is_file():
        raise UsageError(f"there is no file '{path}'", hint=f"{_HINT} with --labels")


def correct_predictions(
    path: Path,
    names: Sequence[str],
    predicted: Sequence[int],
    class_names: Sequence[str],
    observer: Observer,
) -> NDArray[np.bool_]:
    """Return whether the prediction of each labelled image is right, bool [L], L > 0.

    Images are matched by their path, or by its end if only one image and one row have its name.
    Rows without a label are left out; spaces around a label do not count.

    Args:
        path: the table.
        names: paths of the images, as the user knows them.
        predicted: their predicted classes, numbers.
        class_names: of the model.
        observer: receives how many rows match no image, or have no label.

    Raises:
        UsageError: the images have no names.
        DataError: the table cannot be read, contradicts itself, labels none of the images, or
            gives one of them a label that is no class of the model.
    """
    if not names:
        raise UsageError(
            "--labels needs the names of the images, which a log of the server does not have",
            hint="give the images, or a file of `tltool predict --output`",
        )
    labels = _read(path, observer)
    matches = _match(names, list(labels))
    if not matches:
        first = next(iter(labels), "")
        raise DataError(
            f"'{path}' has a label for none of the {len(names):,} images: it names '{first}', and "
            f"an image is '{names[0]}'",
            hint="write the same paths into the table, or names that are unique",
        )
    unused = len(labels) - len(matches)
    if unused:
        observer.on_message(f"{unused:,} of {len(labels):,} labels are of other images")
    _check_classes(path, {name: labels[name] for name in matches.values()}, class_names)
    return np.array(
        [class_names[predicted[row]].strip() == labels[name] for row, name in matches.items()]
    )


def _check_classes(path: Path, labels: Mapping[str, str], class_names: Sequence[str]) -> None:
    """Check that labels are classes of the model.

    Raises:
        DataError: one is not; it would be counted as a mistake of the model.
    """
    known = {name.strip() for name in class_names}
    for image, label in labels.items():
        if label not in known:
            raise DataError(
                f"'{path}' gives '{image}' the label '{label}', which is no class of the model."
                f"{did_you_mean(label, known)}",
                hint="correct the label, or remove the row",
            )


def _read(path: Path, observer: Observer) -> dict[str, str]:
    """Return the label of each path; report how many are empty."""
    labels: dict[str, str] = {}
    empty = 0
    try:
        with path.open(newline="", encoding="utf-8-sig", errors="surrogateescape") as file:
            for number, row in enumerate(csv_rows(file), start=2):
                renamed, _ = standard_names(path, list(row))
                cells = {renamed.get(name, name): cell for name, cell in row.items()}
                if "path" not in cells or "label" not in cells:
                    raise DataError(f"'{path}' has no column path or label", hint=_HINT)
                label = cells["label"].strip()
                if not label:
                    empty += 1
                elif labels.setdefault(cells["path"], label) != label:
                    raise DataError(
                        f"'{path}' has two labels for '{cells['path']}', the second in row "
                        f"{number}",
                        hint="remove the wrong row",
                    )
    except (OSError, ValueError) as error:
        raise DataError(f"'{path}' cannot be read: {error}", hint=_HINT) from None
    if not labels:
        raise DataError(f"'{path}' has no labels", hint=_HINT)
    if empty:
        rows = counted(empty, "row has", "rows have")
        observer.on_message(f"{rows} no label in '{path}' and are left out")
    return labels


def _match(names: Sequence[str], labelled: Sequence[str]) -> dict[int, str]:
    """Return the labelled path for the positions of images that have one."""
    known = set(labelled)
    exact = {row: name for row, name in enumerate(names) if name in known}
    rows_by_name, paths_by_name = (
        Counter(PurePath(one).name for one in several) for several in (names, labelled)
    )
    by_name = {PurePath(path).name: path for path in labelled}
    taken = set(exact.values())
    short = {
        row: by_name[base]
        for row, name in enumerate(names)
        if row not in exact
        and rows_by_name[base := PurePath(name).name] == 1
        and paths_by_name[base] == 1
        and by_name[base] not in taken
        and _is_same_image(name, by_name[base])
    }
    return exact | short


def _is_same_image(first: str, second: str) -> bool:
    """Whether one path is the end of the other: 2024/a.jpg is not 2025/a.jpg."""
    parts = [PurePath(one).parts for one in (first, second)]
    length = min(map(len, parts))
    return parts[0][-length:] == parts[1][-length:]
