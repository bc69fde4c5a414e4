"""A second model: asked in the background, and compared; its answers are not sent to clients."""

from __future__ import annotations

import asyncio
import logging
import time
from typing import Any

import numpy as np

from tltool.serving.api_errors import ApiError
from tltool.serving.decodable_items import run_decodable
from tltool.serving.json_values import Arrays
from tltool.serving.prometheus import ServedMetrics
from tltool.serving.repository import Repository
from tltool.serving.requests import PredictRequest
from tltool.serving.served_model import IMAGE_INPUT
from tltool.serving.served_version import ServedVersion

_MOST_REQUESTS = 4  # that run at the same time
_log = logging.getLogger("tltool.serving")


class Shadow:
    """Asks the second model for what the first has answered, if the server is not busy.

    Args:
        repository: of the second model.
        metrics: counts agreement and latency.
    """

    def __init__(self, repository: Repository, metrics: ServedMetrics) -> None:
        self._repository = repository
        self._metrics = metrics
        self._tasks: set[asyncio.Task[None]] = set()
        self._counts = dict.fromkeys(("agree", "differ", "dropped", "failed"), 0)
        self._seconds = [0.0, 0.0]

    def offer(
        self, served: ServedVersion, request: PredictRequest, outputs: Arrays, seconds: float
    ) -> None:
        """Compare one request in the background; it is dropped while the server is busy.

        Args:
            served: the version that has answered.
            request: to it.
            outputs: its outputs, which are not changed.
            seconds: that it took.
        """
        if "probabilities" not in outputs or set(request.inputs) != {IMAGE_INPUT}:
            return
        if len(self._tasks) >= _MOST_REQUESTS or served.batcher.waiting:
            self._count("dropped", request.rows)
            return
        task = asyncio.create_task(self._compare(served, request, outputs, seconds))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _compare(
        self, served: ServedVersion, request: PredictRequest, outputs: Arrays, seconds: float
    ) -> None:
        try:
            second = self._repository.current
            signature = second.model.image_signature
            if signature is None:
                raise ApiError(501, "no signature for image files")
            with second.in_use():
                started = time.perf_counter()
                again = PredictRequest(
                    signature, request.inputs, request.rows, by_row=False, decoded=request.decoded
                )
                other = await run_decodable(second, again)
                both = (seconds, time.perf_counter() - started)
            second.statistics.add(other)
        except ApiError as error:  # the second model is busy, or rejects the images
            self._count("dropped" if error.status == 503 else "failed", request.rows)
            return
        except Exception:
            _log.exception("the second model cannot answer")
            self._count("failed", request.rows)
            return
        ok = outputs.get("ok", np.ones(request.rows, bool))
        same = _names(served, outputs)[ok] == _names(second, other)[ok]
        self._count("agree", int(same.sum()))
        self._count("differ", int((~same).sum()))
        for place, name in enumerate(("first", "second")):
            self._seconds[place] += both[place]
            self._metrics.shadow_seconds.labels(name).observe(both[place])

    def _count(self, result: str, items: int) -> None:
        self._counts[result] += items
        self._metrics.shadow_items.labels(result).inc(items)

    async def close(self) -> None:
        """Stop: what still runs in the background is dropped."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def to_json(self) -> dict[str, Any]:
        """Return a JSON-ready dictionary."""
        return {**self._counts, "summary": self.summary()}

    def summary(self) -> str:
        """Return one sentence about both models."""
        compared = self._counts["agree"] + self._counts["differ"]
        if not compared:
            return "No image was compared with the second model yet."
        first, second = self._seconds
        return (
            f"Both models agree on {self._counts['agree'] / compared:.1%} of {compared:,} images; "
            f"the second takes {second / max(first, 1e-9):.1f} times as long "
            f"({self._counts['dropped']:,} images were not compared because the server was busy)."
        )


def _names(served: ServedVersion, outputs: Arrays) -> np.ndarray:
    """Return the name of the predicted class of each item, [N]."""
    names, numbers = served.model.class_names, outputs["probabilities"].argmax(axis=1)
    return np.array([names[n] if n < len(names) else str(n) for n in numbers], dtype=object)
