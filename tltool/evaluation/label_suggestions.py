"""Which unlabelled images to label next: active learning with predictions and embeddings.

Settles, "Active learning literature survey", 2009 (margin sampling); Sener and Savarese, "Active
learning for convolutional neural networks: a core-set approach", 2018
(https://arxiv.org/abs/1708.00489), for the greedy k-center choice among uncertain images.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

Strategy = Literal["mixed", "uncertain", "diverse", "random"]
STRATEGIES: tuple[Strategy, ...] = get_args(Strategy)
_CANDIDATES = 3  # uncertain images per image that is chosen among them
Floats = NDArray[np.floating[Any]]
Integers = NDArray[np.integer[Any]]


@dataclass(frozen=True)
class Suggested:
    """An image to label.

    Attributes:
        row: of the image.
        reason: why it was chosen.
    """

    row: int
    reason: str


@dataclass(frozen=True)
class Pool:
    """N unlabelled images.

    Attributes:
        probabilities: by the model, float [N, C].
        embeddings: float [N, D].
        is_known: whether each is in-distribution, bool [N].
        class_names: the C names.
    """

    probabilities: Floats
    embeddings: Floats
    is_known: NDArray[np.bool_]
    class_names: Sequence[str]


def suggest_images(
    pool: Pool, budget: int, *, strategy: Strategy, ood_share: float, seed: int
) -> list[Suggested]:
    """Choose images to label, the first ones first.

    Args:
        pool: the images; copies of one image should be in it once.
        budget: how many to choose at most.
        strategy: ``mixed`` takes uncertain images of every predicted class in turn that differ
            from each other, and a share of out-of-distribution images; ``uncertain`` those with
            the smallest margin between the two most probable classes; ``diverse`` a k-center
            cover; ``random`` any.
        ood_share: largest share of out-of-distribution images of ``mixed``, 0 to 1.
        seed: of ``random``.

    Returns:
        the images with a reason each.
    """
    count = min(budget, len(pool.probabilities))
    if strategy == "random":
        rows = np.random.default_rng(seed).permutation(len(pool.probabilities))[:count]
        return [Suggested(int(row), "drawn at random") for row in rows]
    if strategy == "uncertain":
        rows = np.argsort(_margins(pool.probabilities), kind="stable")[:count]
        return [Suggested(int(row), _uncertain(pool, row)) for row in rows]
    if strategy == "diverse":
        order = k_center(pool.embeddings, np.arange(len(pool.embeddings)), count)
        return [Suggested(row, "unlike the images before it") for row in order]
    return _mixed(pool, count, ood_share)


def _mixed(pool: Pool, count: int, ood_share: float) -> list[Suggested]:
    unknown = np.flatnonzero(~pool.is_known)
    known = np.flatnonzero(pool.is_known)
    wanted = max(round(ood_share * count), count - len(known))
    ood = k_center(pool.embeddings, unknown, min(wanted, len(unknown)))
    chosen = [Suggested(row, _unknown(pool, row)) for row in ood]
    by_class = _by_class(pool, known, count - len(ood))
    return _in_turn(by_class) + chosen


def _by_class(pool: Pool, known: Integers, count: int) -> list[list[Suggested]]:
    """Return the images of each predicted class: equally many, as far as there are."""
    predicted = pool.probabilities[known].argmax(axis=1)
    margins = _margins(pool.probabilities)
    sizes = np.bincount(predicted, minlength=len(pool.class_names))
    result = []
    for number, quota in enumerate(equal_quotas(sizes, count)):
        rows = known[predicted == number]
        rows = rows[np.argsort(margins[rows], kind="stable")][: _CANDIDATES * quota]
        order = k_center(pool.embeddings, rows, quota)
        result.append([Suggested(row, _uncertain(pool, row)) for row in order])
    return result


def equal_quotas(sizes: Integers, count: int) -> list[int]:
    """Return how many to take of each class: equally many, as far as a class has so many.

    Examples:
        >>> equal_quotas(np.array([1, 9, 9]), 7)
        [1, 3, 3]
    """
    quotas = np.zeros(len(sizes), np.int64)
    for _ in range(min(count, int(sizes.sum()))):
        open_classes = np.flatnonzero(quotas < sizes)
        quotas[open_classes[np.argmin(quotas[open_classes])]] += 1
    return [int(one) for one in quotas]


def k_center(embeddings: Floats, rows: Integers, count: int) -> list[int]:
    """Return ``count`` of ``rows`` that cover the others: greedy k-center by cosine distance.

    The first of ``rows`` is taken first; then always the one farthest from those taken.

    Args:
        embeddings: float [N, D].
        rows: candidates, int [M].
        count: how many, at most M.
    """
    if not count or not len(rows):
        return []
    vectors = np.asarray(embeddings[rows], np.float32)
    vectors = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
    taken = [0]
    distance = 1 - vectors @ vectors[0]
    while len(taken) < min(count, len(rows)):
        distance[taken[-1]] = -np.inf
        farthest = int(distance.argmax())
        taken.append(farthest)
        distance = np.minimum(distance, 1 - vectors @ vectors[farthest])
    return [int(rows[place]) for place in taken]


def _in_turn(by_class: Sequence[Sequence[Suggested]]) -> list[Suggested]:
    longest = max((len(one) for one in by_class), default=0)
    return [one[place] for place in range(longest) for one in by_class if place < len(one)]


def _margins(probabilities: Floats) -> Floats:
    """Return the difference between the two largest probabilities of each row."""
    largest = np.sort(probabilities, axis=1)[:, -2:]
    return np.asarray(largest[:, -1] - largest[:, 0])


def _uncertain(pool: Pool, row: int | np.integer[Any]) -> str:
    first, second = np.argsort(-pool.probabilities[row], kind="stable")[:2]
    names, values = pool.class_names, pool.probabilities[row]
    return f"{names[first]} {values[first]:.0%} or {names[second]} {values[second]:.0%}"


def _unknown(pool: Pool, row: int) -> str:
    nearest = pool.class_names[int(pool.probabilities[row].argmax())]
    return f"out-of-distribution, nearest class {nearest}"
