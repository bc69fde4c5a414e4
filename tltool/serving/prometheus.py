"""Metrics of the server in Prometheus' text format."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

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

    def text(self) -> bytes:
        """Return all metrics in Prometheus' text format."""
        return generate_latest(self._registry)
