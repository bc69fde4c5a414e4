"""Groups of images that must be in the same split: copies, near duplicates and named groups."""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tltool.data.catalog import Item
from tltool.data.duplicates.find_duplicates import Cluster, DisjointSets


@dataclass(frozen=True)
class SplitGroup:
    """Items that must be in the same split.

    Attributes:
        name: of the group, or a name for the content of duplicates; empty for a single image.
        position: pseudo-random number in [0, 1), a hash of the seed and of the content or group.
        members: positions of the items.
        labels: number of its items of each class.
    """

    name: str
    position: float
    members: tuple[int, ...]
    labels: Mapping[str, int]


def make_split_groups(
    items: Sequence[Item],
    free: Sequence[int],
    *,
    seed: int,
    clusters: Sequence[Cluster] = (),
    salt: str = "",
) -> list[SplitGroup]:
    """Join the items at ``free`` by content, group and cluster, transitively.

    Args:
        items: all items.
        free: positions of the items to join; clusters are joined among these only.
        seed: of the random positions.
        clusters: near duplicates, by position in ``items``.
        salt: gives other random positions with the same seed.
    """
    sets, chosen = DisjointSets(len(items)), set(free)
    first: dict[str, int] = {}
    for index in free:
        for key in _keys(items[index]):
            sets.join(first.setdefault(key, index), index)
    for cluster in clusters:
        inside = [index for index in cluster.members if index in chosen]
        for index in inside[1:]:
            sets.join(inside[0], index)
    joined: dict[int, list[int]] = defaultdict(list)
    for index in free:
        joined[sets.find(index)].append(index)
    return [_split_group(items, members, f"{salt}{seed}") for members in joined.values()]


def _keys(item: Item) -> list[str]:
    group = [] if item.group is None else [f"group {item.group}"]
    return [*group, f"sha256 {item.sha256 or item.path}"]


def _split_group(items: Sequence[Item], members: list[int], salt: str) -> SplitGroup:
    # "group …" sorts before "sha256 …": a group keeps its position when it gains an image.
    key = min(key for index in members for key in _keys(items[index]))
    digest = hashlib.sha256(f"{salt}|{key}".encode(errors="surrogateescape")).digest()
    position = (int.from_bytes(digest[:8], "big") >> 11) / 2**53  # exact in a float, below 1
    kind, _, value = key.partition(" ")
    name = value if kind == "group" else f"duplicates {value[:12]}" if len(members) > 1 else ""
    return SplitGroup(
        name, position, tuple(members), Counter(items[index].label for index in members)
    )
