"""Metrics of the server in Prometheus' text format."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from tltool.evaluation.drift.binned import CONFIDENCE_EDGES
from tltool.evaluation.drift.drift_tests import Drift

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
_ITEMS = (1, 2, 4, 8, 16, 32, 64)


class Metrics:
    """The metrics of one server; each server has its own registry."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self.requests = Counter(
            "tltool_requests",
            "Requests by route and status.",
            ["route", "status"],
            registry=self._registry,
        )
        self.seconds = Histogram(
            "tltool_request_seconds",
            "Seconds from the header of a request to its response.",
            ["route"],
            buckets=_SECONDS,
            registry=self._registry,
        )
        self.batch_items = Histogram(
            "tltool_batch_items",
            "Items per batch.",
            buckets=_ITEMS,
            registry=self._registry,
        )
        self.batch_seconds = Histogram(
            "tltool_batch_seconds",
            "Seconds of the model for one batch.",
            buckets=_SECONDS,
            registry=self._registry,
        )
        self.items = Counter(
            "tltool_items",
            "Items, by whether they could be decoded.",
            ["ok"],
            registry=self._registry,
        )
        self.waiting = Gauge(
            "tltool_queue_items", "Items waiting for the model.", registry=self._registry
        )
        self.version = Gauge(
            "tltool_model_version", "The version being served.", registry=self._registry
        )
        self.served = ServedMetrics(self._registry)

    def text(self) -> bytes:
        """Return all metrics in Prometheus' text format."""
        return generate_latest(self._registry)


class ServedMetrics:
    """The metrics of what the versions have answered.

    Args:
        registry: of the server.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        version = ["model", "version"]
        self._classes = Counter(
            "tltool_predicted_items",
            "Classified images by predicted class.",
            [*version, "class"],
            registry=registry,
        )
        self._confidence = Histogram(
            "tltool_confidence",
            "Confidence of the predicted class.",
            version,
            buckets=(*CONFIDENCE_EDGES, 1.0),
            registry=registry,
        )
        self._known = Counter(
            "tltool_known_items",
            "Classified images, by whether they are in-distribution.",
            [*version, "is_known"],
            registry=registry,
        )
        self._drift_size = Gauge(
            "tltool_drift_size",
            "Size of the drift of the last window, 0 to 1; 0 if no drift is found.",
            version,
            registry=registry,
        )
        self._drift_p_value = Gauge(
            "tltool_drift_p_value",
            "Smallest p-value of the drift tests of the last window, adjusted.",
            version,
            registry=registry,
        )
        self.shadow_items = Counter(
            "tltool_shadow_items",
            "Images that the second model was asked for, by result.",
            ["result"],
            registry=registry,
        )
        self.shadow_seconds = Histogram(
            "tltool_shadow_seconds",
            "Seconds of each model for the requests that both have answered.",
            ["model"],
            buckets=_SECONDS,
            registry=registry,
        )

    def count(
        self,
        version: tuple[str, str],
        names: Sequence[str],
        confidence: np.ndarray,
        known: np.ndarray | None,
    ) -> None:
        """Count classified images.

        Args:
            version: name of the model, and version.
            names: predicted classes, [N].
            confidence: float [N].
            known: whether each image is in-distribution, bool [N]; None if unknown.
        """
        for name, value in zip(names, confidence.tolist(), strict=True):
            self._classes.labels(*version, name).inc()
            self._confidence.labels(*version).observe(value)
        if known is not None:
            inside = int(known.sum())
            self._known.labels(*version, "true").inc(inside)
            self._known.labels(*version, "false").inc(len(known) - inside)

    def set_drift(self, version: tuple[str, str], drift: Drift) -> None:
        """Set the drift of the last window."""
        self._drift_size.labels(*version).set(drift.size)
        self._drift_p_value.labels(*version).set(drift.p_value)

    def forget(self, version: tuple[str, str]) -> None:
        """Remove a version that is no longer served: there may be many in a server's life."""
        labels = dict(zip(("model", "version"), version, strict=True))
        for metric in (
            self._classes,
            self._confidence,
            self._known,
            self._drift_size,
            self._drift_p_value,
        ):
            metric.remove_by_labels(labels)
