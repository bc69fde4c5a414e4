"""What a model adds to a review: heat maps and neighbours, computed when first asked for."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tltool.errors import DataError

NEIGHBOURS = 4
"""Of each class."""


@dataclass
class ModelViews:
    """Heat maps and neighbours; either is absent without what it needs.

    Attributes:
        explainer: returns a function that draws the heat map of a file and a class as a PNG;
            called once, as it loads the model.
        embeddings: returns the embeddings of all images, float [N, D]; called once.
        labels: the label of each of the N images.
    """

    explainer: Callable[[], Callable[[Path, str | None], bytes]] | None = None
    embeddings: Callable[[], NDArray[np.float32]] | None = None
    labels: Sequence[str] = ()
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _explain: Callable[[Path, str | None], bytes] | None = None
    _vectors: NDArray[np.float32] | None = None

    @property
    def explains(self) -> bool:
        """Whether there are heat maps."""
        return self.explainer is not None

    @property
    def finds_neighbours(self) -> bool:
        """Whether there are neighbours."""
        return self.embeddings is not None

    def heat_map(self, path: Path, class_name: str | None) -> bytes:
        """Return a PNG of an image with the evidence for a class, or for the predicted one.

        Raises:
            DataError: there is no model that explains.
        """
        if self.explainer is None:
            raise DataError("heat maps need a run with a model that can be explained")
        with self._lock:  # one at a time: a model takes all cores
            if self._explain is None:
                self._explain = self.explainer()
            return self._explain(path, class_name)

    def neighbours(self, number: int, classes: Sequence[str]) -> dict[str, list[int]]:
        """Return the positions of the most similar other images of each class, nearest first.

        Args:
            number: position of the image.
            classes: names of classes.

        Raises:
            DataError: there are no embeddings.
        """
        if self.embeddings is None:
            raise DataError("neighbours need a run with a backbone")
        with self._lock:
            if self._vectors is None:
                vectors = np.asarray(self.embeddings(), np.float32)
                length = np.linalg.norm(vectors, axis=1, keepdims=True)
                self._vectors = vectors / np.maximum(length, 1e-12)
        similarity = self._vectors @ self._vectors[number]
        similarity[number] = -np.inf
        names = np.asarray(self.labels)
        nearest = {}
        for name in classes:
            rows = np.flatnonzero((names == name) & np.isfinite(similarity))
            order = np.argsort(-similarity[rows], kind="stable")[:NEIGHBOURS]
            nearest[name] = rows[order].tolist()
        return nearest
