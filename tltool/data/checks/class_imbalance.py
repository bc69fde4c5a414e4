"""How the images are spread over the classes, and whether the classes are what was meant."""

from __future__ import annotations

import math
import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from tltool.data.catalog import Item
from tltool.data.checks.findings import Finding
from tltool.data.duplicates.find_duplicates import Cluster

UNEVEN = 3.0
FEWEST = 3
"""Different images of a class below which it cannot be in training, validation and test."""
FEW = 20


@dataclass(frozen=True)
class Balance:
    """Counts of the classes.

    Attributes:
        counts: usable images of each class, largest first.
        different: of them, images that are no duplicates of another.
        ratio: largest count over smallest.
        effective_classes: as many equally large classes would be as uncertain (the exponential
            of the entropy of the class frequencies).
    """

    counts: Mapping[str, int]
    different: Mapping[str, int]
    ratio: float
    effective_classes: float


def measure_balance(items: Sequence[Item], clusters: Sequence[Cluster]) -> Balance:
    """Count the classes of usable items; there is at least one."""
    counts = dict(Counter(item.label for item in items).most_common())
    different = dict(counts)
    for cluster in clusters:
        for label, count in Counter(items[i].label for i in cluster.members).items():
            different[label] -= count - 1
    shares = [count / len(items) for count in counts.values()]
    entropy = -sum(share * math.log(share) for share in shares)
    ratio = max(counts.values()) / min(counts.values())
    return Balance(counts, different, ratio, math.exp(entropy))


def class_findings(balance: Balance, lost: Sequence[str]) -> Iterator[Finding]:
    """Yield what is wrong with the classes; ``lost`` have no usable image."""
    for label in lost:
        detail = f"no image of class {label!r} can be read"
        yield Finding(None, "class without images", detail, "replace its files", "serious")
    if len(balance.counts) + len(lost) == 1:
        detail = f"{next(iter(balance.counts))!r} is the only class; a classifier needs two"
        yield Finding(None, "only one class", detail, "add a class", "serious")
    for label, count in balance.different.items():
        if count < FEW:
            yield _small(label, count)
    if balance.ratio > UNEVEN:
        largest, *_, smallest = balance.counts
        detail = (
            f"{largest!r} has {balance.counts[largest]:,} images, {smallest!r} has "
            f"{balance.counts[smallest]:,}: {balance.ratio:.1f} times as many"
        )
        suggestion = "add images to small classes, and look at the recall of each class"
        yield Finding(None, "uneven classes", detail, suggestion, "warning")
    for names in _alike([*balance.counts, *lost]):
        detail = f"classes {' and '.join(map(repr, names))} differ only in how they are written"
        yield Finding(None, "same class name", detail, "put them into one folder", "serious")


def _small(label: str, count: int) -> Finding:
    if count < FEWEST:
        detail = f"class {label!r} has {_images(count)}, too few for three splits"
        return Finding(None, "class too small", detail, "add images or remove it", "serious")
    detail = f"class {label!r} has only {_images(count)}"
    return Finding(None, "small class", detail, "add images: its figures will be vague", "warning")


def _images(count: int) -> str:
    return "1 image" if count == 1 else f"{count} different images"


def _alike(names: Sequence[str]) -> list[list[str]]:
    """Return groups of names that differ only in case, spaces, hyphens and underscores."""
    groups: dict[str, list[str]] = defaultdict(list)
    for name in names:
        groups[re.sub(r"[\s_-]+", "", name).casefold()].append(name)
    return [sorted(group) for group in groups.values() if len(group) > 1]
