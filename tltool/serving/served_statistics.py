"""What one version has answered: classes, confidences, OOD share, and drift over a window."""

from __future__ import annotations

import asyncio
import math
import time
from typing import Any

import numpy as np

from tltool.evaluation.drift.drift_tests import ALPHA, Drift, Sample, find_drift
from tltool.serving.json_values import Arrays
from tltool.serving.prometheus import ServedMetrics
from tltool.serving.served_model import ServedModel

WINDOW = 1000  # items; 16 kB
LEAST = 50  # items before drift is tested
_PAUSE = 10.0  # seconds between two tests
_PERMUTATIONS = 999
_WHAT = {"classes": "classes", "confidence": "confidences", "ood_scores": "OOD scores"}


class ServedStatistics:
    """Counts the answers of one version. No image and no name is kept.

    Args:
        model: the version.
        metrics: counts for Prometheus.

    Attributes:
        items: images that were classified.
        unknown: of these, out-of-distribution images.
        drift: of the last window; None if it was not tested yet, or cannot be.
    """

    def __init__(self, model: ServedModel, metrics: ServedMetrics) -> None:
        self._model = model
        self._metrics = metrics
        self._version = (model.name, str(model.version))
        self._predicted = np.zeros(WINDOW, np.int64)
        self._confidence = np.zeros(WINDOW, np.float32)
        self._scores = np.zeros(WINDOW, np.float32)
        self._has_scores = True
        self._counts = np.zeros(len(model.class_names), np.int64)
        self._tested = (0, -_PAUSE)
        self.items = self.unknown = 0
        self.drift: Drift | None = None

    def add(self, outputs: Arrays) -> None:
        """Count the answers to one request; outputs without probabilities are ignored."""
        probabilities = self._model.probabilities_in(outputs)
        if probabilities is None:
            return
        ok = outputs.get("ok", np.ones(len(probabilities), bool))
        if not ok.any():
            return
        predicted = probabilities[ok].argmax(axis=1)
        confidence = probabilities[ok].max(axis=1)
        scores = outputs.get("ood_score")
        self._has_scores = scores is not None
        places = (self.items + np.arange(len(predicted))) % WINDOW
        self._predicted[places], self._confidence[places] = predicted, confidence
        if scores is not None:
            self._scores[places] = scores[ok]
            self.unknown += int((scores[ok] > 1).sum())
        self.items += len(predicted)
        self._counts += np.bincount(predicted, minlength=len(self._counts))
        known = None if scores is None else scores[ok] <= 1
        names = [self._model.class_names[number] for number in predicted]
        self._metrics.count(self._version, names, confidence, known)

    async def update(self) -> None:
        """Test the window for drift, if it has changed and the last test is some seconds ago."""
        reference, (tested, at) = self._model.reference, self._tested
        too_early = self.items < LEAST or time.monotonic() - at < _PAUSE
        if reference is None or too_early or self.items == tested:
            return
        self._tested = (self.items, math.inf)  # until this test has ended
        items = self.items
        try:
            self.drift = await asyncio.to_thread(
                find_drift,
                reference,
                self._window(),
                classes=len(self._counts),
                permutations=_PERMUTATIONS,
            )
        finally:
            self._tested = (items, time.monotonic())
        self._metrics.set_drift(self._version, self.drift)

    def _window(self) -> Sample:
        count = min(self.items, WINDOW)
        scores = self._scores[: count if self._has_scores else 0].copy()
        return Sample(
            self._predicted[:count].copy(),
            self._confidence[:count].copy(),
            scores,
            np.zeros((0, 0), np.float16),
        )

    def forget(self) -> None:
        """Remove the counts of a version that is no longer served from the metrics."""
        self._metrics.forget(self._version)

    def to_json(self) -> dict[str, Any]:
        """Return a JSON-ready dictionary."""
        order = np.argsort(-self._counts, kind="stable")
        shown = [number for number in order if self._counts[number]]
        return {
            "model": self._version[0],
            "version": self._version[1],
            "items": self.items,
            "unknown": self.unknown if self._has_scores else None,
            "classes": [
                {"class_name": self._model.class_names[n], "items": int(self._counts[n])}
                for n in shown
            ],
            "drift": self.drift and self.drift.to_json(),
            "summary": self.summary(),
        }

    def summary(self) -> str:
        """Return one or two sentences about what was served."""
        images = f"{self.items:,} image{'s' if self.items != 1 else ''}"
        known = self.items and self._has_scores
        share = f", {self.unknown / self.items:.1%} out-of-distribution" if known else ""
        answered = f"{' version '.join(self._version)}: {images}{share}."
        if self._model.reference is None:
            return f"{answered} Drift is not tested: the export has no reference statistics."
        if self.drift is None:
            return f"{answered} Drift is tested from {LEAST} images on."
        names = [_WHAT[test.name] for test in self.drift.tests if test.found]
        verdict = f"Drift found in {', '.join(names)}" if names else "No drift found"
        rate = (
            "rate not known after a refit" if self.drift.before_refit else f"{ALPHA:.0%} of windows"
        )
        return (
            f"{answered} {verdict} (last {self.drift.n:,} images, p = {self.drift.p_value:.2g}; "
            f"false alarms: {rate})."
        )
