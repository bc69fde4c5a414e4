"""Data leakage in an evaluation: images that the model was trained or validated on."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from tltool.data.catalog import SPLIT_NAMES, Item
from tltool.data.splits.split import read_split
from tltool.runs.layout import RunLayout


def train_overlap(items: Sequence[Item], model: Path) -> dict[str, int] | None:
    """Return how many images are in the training and in the validation set of a run, by content.

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
    rank = {name: position for position, name in enumerate(SPLIT_NAMES)}
    rows = sorted(read_split(split), key=lambda row: rank[row.split], reverse=True)
    split_of = {row.sha256: row.split for row in rows}  # of copies, the training image counts
    counts = Counter(split_of.get(item.sha256) for item in items)
    return {"train": counts["train"], "validation": counts["validation"]}
