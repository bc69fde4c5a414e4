"""Whether images to be measured are those that a model was made with."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from tltool.data.catalog import SPLIT_NAMES, Item
from tltool.data.splits.split import read_split
from tltool.runs.layout import RunLayout


def trained_on(items: Sequence[Item], model: Path) -> dict[str, int] | None:
    """Return how many images lie in the training and in the validation part of a run, by content.

    None where that is not known: an export has no list of its images.

    Args:
        items: the images.
        model: the folder of a run, or another model.

    Raises:
        DataError: the run's split.csv is damaged.
    """
    split = RunLayout(model).split
    if not split.is_file():
        return None
    place = {name: position for position, name in enumerate(SPLIT_NAMES)}
    rows = sorted(read_split(split), key=lambda row: place[row.split], reverse=True)
    part_of = {row.sha256: row.split for row in rows}  # a copy that trained the run decides
    found = Counter(part_of.get(item.sha256) for item in items)
    return {"train": found["train"], "validation": found["validation"]}
