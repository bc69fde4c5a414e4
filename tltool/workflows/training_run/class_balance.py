"""What a run does about classes of unequal size, and what it says of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property

import numpy as np

from tltool.features.extract import Features
from tltool.features.image_source import ImageSource
from tltool.features.sampler import Sampler
from tltool.training.imbalance import image_weights, loss_weights, mean_labels
from tltool.workflows.training_run.context import Session

_HINT_FROM = 3.0  # the largest class against the smallest
_LISTED = 8  # classes; of more, only the extremes are told


class Balance:
    """How images are drawn and weighted.

    Args:
        session: the run.
        train: training images.
        class_names: names of the classes.

    Attributes:
        class_weights: weights of the loss, float32 [C], None for none; see ``settle``.
    """

    def __init__(self, session: Session, train: ImageSource, class_names: Sequence[str]) -> None:
        self._session, self._train, self._names = session, train, class_names
        self._kind = session.recipe.train.imbalance
        self.class_weights: np.ndarray | None = None

    @cached_property
    def sampler(self) -> Sampler:
        """Which images an epoch takes."""
        balanced = self._kind == "balanced_sampling"
        return Sampler(self._train.labels, self._session.recipe.seed, balanced=balanced)

    def image_weights(self) -> np.ndarray | None:
        """Return the weights of the images for the probe, which draws none: float64 [N] or None."""
        # to draw a class more often is, in expectation, to weight it more
        kind = "weights" if self._kind == "balanced_sampling" else self._kind
        labels = self._train.expected_labels()
        return image_weights(loss_weights(kind, self._train.labels, labels), labels)

    def settle(self, views: Sequence[Features] = ()) -> None:
        """Decide the weights of the loss, tell them, and note them in manifest.json.

        Args:
            views: the cached views that epochs draw from; none on the live path.
        """
        labels = self._train.expected_labels()
        self._tell_kind()
        if self._kind == "balanced_sampling" and views:
            labels = mean_labels([view.index for view in views], [view.labels for view in views])
        self.class_weights = loss_weights(self._kind, self._train.labels, labels)
        if self.class_weights is not None:
            told = dict(zip(self._names, map(float, self.class_weights), strict=True))
            self._session.note(class_weights=told)
            self._session.observer.on_message(f"weights in the loss: {_listed(told)}")

    def _tell_kind(self) -> None:
        train = self._session.recipe.train
        if self._kind == "focal":
            self._session.observer.on_message(f"focal loss, gamma {train.focal_gamma:g}")
        if self._kind == "balanced_sampling":
            sizes = np.bincount(self._train.labels)
            each, least, most = (
                len(self._train) / len(sizes),
                int(sizes.argmin()),
                int(sizes.argmax()),
            )
            self._session.observer.on_message(
                f"every epoch draws {each:.0f} images of each class: one of "
                f"'{self._names[least]}' {each / sizes[least]:.1f} times, one of "
                f"'{self._names[most]}' {each / sizes[most]:.1f} times"
            )


def hint_at_imbalance(session: Session, counts: Mapping[str, int]) -> None:
    """Say so where classes differ much in size and nothing is done about it."""
    small, large = min(counts, key=counts.__getitem__), max(counts, key=counts.__getitem__)
    ratio = counts[large] / max(counts[small], 1)
    if session.recipe.train.imbalance == "none" and ratio > _HINT_FROM:
        session.observer.on_message(
            f"'{large}' has {ratio:.1f} times as many training images as '{small}'; if small "
            "classes matter as much as large ones: --set train.imbalance=weights"
        )


def _listed(weights: Mapping[str, float]) -> str:
    shown = list(weights.items())
    if len(shown) > _LISTED:
        shown.sort(key=lambda pair: pair[1])
        shown = [shown[0], shown[-1]]
    told = ", ".join(f"{name} {weight:.3f}" for name, weight in shown)
    rest = len(weights) - len(shown)
    return f"{told} and {rest} between" if rest else told
