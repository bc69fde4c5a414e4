"""Predict new images for a comparison with the validation images."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tltool.errors import DataError
from tltool.evaluation.drift.drift_tests import Sample
from tltool.events import Observer
from tltool.features.out_of_memory import micro_batches, reported_to
from tltool.training.reference import MAX_FEATURES, spread
from tltool.workflows.prediction.inputs import InputImage
from tltool.workflows.prediction.model import LoadedModel


@dataclass(frozen=True)
class MonitoredImages:
    """New images with their predictions.

    Attributes:
        sample: the predictions of M images.
        names: of the images, as the user knows them; empty for a log without names.
        files: the image files; empty if there are none.
        featured: positions of the J images with features, int64 [J].
        failed: images that cannot be read.
        copies: identical copies, which are left out.
    """

    sample: Sample
    names: Sequence[str] = ()
    files: Sequence[Path] = ()
    featured: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))
    failed: int = 0
    copies: int = 0


def predict_new_images(
    model: LoadedModel, inputs: Sequence[InputImage], observer: Observer
) -> MonitoredImages:
    """Return the predictions; an image that is there several times is counted once.

    Raises:
        DataError: none of the images can be read.
    """
    observer.on_phase("predict", f"{len(inputs):,} images")
    collected = _Collected(model, set(spread(len(inputs), MAX_FEATURES).tolist()))
    with micro_batches(reported_to(observer)):
        for start in range(0, len(inputs), model.batch_size):
            batch = inputs[start : start + model.batch_size]
            collected.add(start, batch)
            observer.on_progress(start + len(batch), len(inputs))
    if not collected.names:
        raise DataError(
            f"none of the {len(inputs):,} images can be read",
            hint="`tltool predict` says what is wrong with each",
        )
    return collected.result()


class _Collected:
    """What has been predicted so far."""

    def __init__(self, model: LoadedModel, chosen: set[int]) -> None:
        self._model = model
        self._chosen = chosen if model.features is not None else set()
        self._seen: set[bytes] = set()
        self._parts: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
        self._features: list[np.ndarray] = []
        self._featured: list[int] = []
        self.names: list[str] = []
        self._files: list[Path] = []
        self._failed = self._copies = 0

    def add(self, start: int, batch: Sequence[InputImage]) -> None:
        """Predict a batch of images, of which ``start`` is the first position."""
        read = [(start + row, image, image.content()) for row, image in enumerate(batch)]
        new = [one for one in read if isinstance(one[2], bytes) and self._is_new(one[2])]
        self._failed += sum(isinstance(content, str) for _, _, content in read)
        contents = [content for _, _, content in new if isinstance(content, bytes)]
        if not contents:
            return
        predictions = self._model.predict(contents)
        ok = predictions.ok
        self._failed += int((~ok).sum())
        scores = predictions.ood_scores
        self._parts.append(
            (
                predictions.probabilities[ok].argmax(axis=1),
                predictions.probabilities[ok].max(axis=1),
                np.zeros(0, np.float32) if scores is None else scores[ok],
            )
        )
        self._add_features([(at, content) for at, _, content in new], contents, ok)
        good = [image for (_, image, _), fine in zip(new, ok, strict=True) if fine]
        self.names += [str(image.shown) for image in good]
        self._files += [image.path for image in good]

    def _is_new(self, content: bytes) -> bool:
        digest = hashlib.sha256(content).digest()
        if digest in self._seen:
            self._copies += 1
            return False
        self._seen.add(digest)
        return True

    def _add_features(
        self, placed: Sequence[tuple[int, object]], contents: Sequence[bytes], ok: np.ndarray
    ) -> None:
        chosen = [row for row, (at, _) in enumerate(placed) if at in self._chosen and ok[row]]
        if not chosen or self._model.features is None:
            return
        vectors, _ = self._model.features([contents[row] for row in chosen])
        self._features.append(vectors)
        rows = np.cumsum(ok) - 1 + len(self.names)
        self._featured += rows[chosen].tolist()

    def result(self) -> MonitoredImages:
        predicted, confidence, scores = (
            np.concatenate(parts) for parts in zip(*self._parts, strict=True)
        )
        features = np.concatenate(self._features) if self._features else np.zeros((0, 0))
        sample = Sample(predicted.astype(np.int64), confidence, scores, features.astype(np.float16))
        return MonitoredImages(
            sample,
            self.names,
            self._files,
            np.array(self._featured, np.int64),
            self._failed,
            self._copies,
        )
