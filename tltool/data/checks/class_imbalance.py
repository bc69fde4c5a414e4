"""Checks the class distribution: imbalance, small classes, ambiguous class names."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from tltool.data.catalog import Item
from tltool.data.checks.findings import Finding
from tltool.data.duplicates.find_duplicates import Cluster
from tltool.data.item_columns import as_columns
from tltool.data.sources.class_names import (
    is_missing,
    measurements,
    placeholders,
    similar_names,
)

IMBALANCED = 3.0
"""Ratio of the largest class to the smallest."""
FEWEST = 3
"""Smallest number of different images for a training, a validation and a test split."""
FEW = 20


@dataclass(frozen=True)
class Balance:
    """The class distribution.

    Attributes:
        counts: usable images of each class, largest first.
        different: images of each class without duplicates.
        ratio: largest count divided by the smallest (the imbalance ratio).
        effective_classes: exponential of the entropy of the class frequencies.
    """

    counts: Mapping[str, int]
    different: Mapping[str, int]
    ratio: float
    effective_classes: float


def measure_balance(items: Sequence[Item], clusters: Sequence[Cluster]) -> Balance:
    """Return the class distribution of at least one usable item."""
    counts = dict(Counter(as_columns(items).labels()).most_common())
    different = dict(counts)
    for cluster in clusters:
        for label, count in Counter(items[i].label for i in cluster.members).items():
            different[label] -= count - 1
    shares = [count / len(items) for count in counts.values()]
    entropy = -sum(share * math.log(share) for share in shares)
    ratio = max(counts.values()) / min(counts.values())
    return Balance(counts, different, ratio, math.exp(entropy))


def class_findings(balance: Balance, unusable: Sequence[str]) -> Iterator[Finding]:
    """Yield the findings about the classes.

    Args:
        balance: of the classes with usable images.
        unusable: classes without a usable image.
    """
    for label in unusable:
        detail = f"no image of class {label!r} can be read"
        yield Finding(None, "class without images", detail, "replace its files", "serious")
    if len(balance.counts) + len(unusable) == 1:
        detail = f"{next(iter(balance.counts))!r} is the only class; a classifier needs two"
        yield Finding(None, "only one class", detail, "add a class", "serious")
    for label, count in balance.different.items():
        if count < FEW:
            yield _small(label, count)
    if balance.ratio > IMBALANCED:
        largest, *_, smallest = balance.counts
        detail = (
            f"{largest!r} has {balance.counts[largest]:,} images, {smallest!r} has "
            f"{balance.counts[smallest]:,}: a ratio of {balance.ratio:.1f}"
        )
        suggestion = (
            "add images to the small classes, or set train.imbalance; check the recall per class"
        )
        yield Finding(None, "class imbalance", detail, suggestion, "warning")
    for names in similar_names([*balance.counts, *unusable]):
        detail = f"the class names {' and '.join(map(repr, names))} differ only in their spelling"
        yield Finding(None, "similar class names", detail, "merge these classes", "serious")
    if decimals := measurements([*balance.counts, *unusable]):
        detail = f"the classes are numbers such as {decimals[0]!r}, which looks like regression"
        suggestion = "tltool trains classifiers: replace the numbers by a few named ranges"
        yield Finding(None, "numbers as classes", detail, suggestion, "serious")
    for label in [*filter(is_missing, balance.counts), *placeholders(balance.counts)]:
        detail = f"the class {label!r} has the name of a missing value"
        suggestion = "check where its images come from; they may have no label"
        yield Finding(None, "missing label", detail, suggestion, "serious")


def _small(label: str, count: int) -> Finding:
    if count < FEWEST:
        detail = f"class {label!r} has {_images(count)}, too few for three splits"
        return Finding(None, "class too small", detail, "add images or remove it", "serious")
    detail = f"class {label!r} has only {_images(count)}"
    return Finding(
        None, "small class", detail, "add images: its metrics will be uncertain", "warning"
    )


def _images(count: int) -> str:
    return "1 image" if count == 1 else f"{count} different images"
