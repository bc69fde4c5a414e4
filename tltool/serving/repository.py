"""The versions of one model: the newest valid version is served, and a newer one replaces it."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from tltool.errors import TltoolError
from tltool.export.model_folder import model_digest
from tltool.serving.api_errors import ApiError
from tltool.serving.batching import Batcher
from tltool.serving.model_source import ModelSource, Stamp, stamp_of
from tltool.serving.prometheus import Metrics, ServedMetrics
from tltool.serving.served_model import ServedModel, load_version
from tltool.serving.served_statistics import ServedStatistics
from tltool.serving.served_version import ServedVersion
from tltool.serving.settings import Settings

State = Literal["LOADING", "AVAILABLE", "UNLOADING", "END"]
_log = logging.getLogger("tltool.serving")


class Repository:
    """Serves the newest version of one model and replaces it without downtime.

    Args:
        source: the folder with the versions.
        settings: of the server.
        metrics: records the served version.
        log: called with a sentence when a version is served or rejected.
        first: metrics of the first model's answers, if this is the second model.

    Attributes:
        source: as given.
        candidate: the second model; None for none.
        stopping: whether the server is about to stop; set by it.
    """

    def __init__(
        self,
        source: ModelSource,
        settings: Settings,
        metrics: Metrics,
        log: Callable[[str], None],
        *,
        first: ServedMetrics | None = None,
    ) -> None:
        self.source = source
        self.candidate: Repository | None = None
        self._first = first
        self._settings = settings
        self._metrics = metrics
        self._log = log
        self._current: ServedVersion | None = None
        self._loaded: ServedModel | None = None
        self._states: dict[int, tuple[State, str]] = {}
        self._rejected: dict[int, Stamp] = {}
        self._compared: tuple[ServedModel, ServedModel, bool] | None = None
        self.stopping = False
        self._draining: set[asyncio.Task[None]] = set()

    def load_first(self) -> ServedModel:
        """Load the newest valid version, before the server starts.

        Raises:
            TltoolError: there is none; the error of the newest version.
        """
        self.source.check()
        versions = self.source.versions()
        errors: list[TltoolError] = []
        for number, folder in versions.items():
            stamp = stamp_of(folder)
            try:
                self._loaded = self._load(number, folder)
            except TltoolError as error:
                errors.append(error)
                if len(versions) > 1:
                    self._reject(number, stamp, error.message)
                continue
            self._metrics.version.set(number)
            self._states[number] = ("AVAILABLE", "")
            return self._loaded
        raise errors[0]

    def _load(self, number: int, folder: Path) -> ServedModel:
        trust = {"trust": True} if self.source.trust else {}
        model = load_version(self.source.name, number, folder, **trust)
        digest = "" if self._settings.log is None else model_digest(folder)
        return replace(model, digest=digest)

    def start(self) -> None:
        """Start to serve; called in the server's event loop."""
        if self._loaded is not None:
            self._current = self._served(self._loaded)

    def _served(self, model: ServedModel) -> ServedVersion:
        limits = self._settings.limits
        batcher = Batcher(model.run, self._settings.batching, self._metrics, limits.decoded_bytes)
        statistics = ServedStatistics(model, self._first or self._metrics.served)
        return ServedVersion(model, batcher, statistics, is_candidate=self._first is not None)

    @property
    def current(self) -> ServedVersion:
        """The version that is served now.

        Raises:
            ApiError: there is none.
        """
        if self._current is None:
            raise ApiError(503, "No version is ready yet", headers={"Retry-After": "1"})
        return self._current

    @property
    def ready(self) -> ServedVersion:
        """The version that is served now.

        Raises:
            ApiError: there is none, or the server is stopping.
        """
        if self.stopping:
            raise ApiError(503, "The server is stopping")
        return self.current

    @property
    def is_ready(self) -> bool:
        """Whether new requests may be sent."""
        return self._current is not None and not self.stopping

    def get(self, name: str, version: int | None = None) -> ServedVersion:
        """Return the version of a URL.

        Raises:
            ApiError: it is not served.
        """
        if name != self.source.name:
            servable = f"Latest({name})" if version is None else f"Specific({name}, {version})"
            raise ApiError(404, f"Servable not found for request: {servable}")
        current = self.current
        if version is not None and version != current.model.version:
            raise ApiError(404, f"Servable not found for request: Specific({name}, {version})")
        return current

    def pick(self, name: str | None = None) -> ServedVersion:
        """Return the version that answers a request without a version number.

        With ``--canary`` a random share of the requests is answered by the second model, unless
        it is not ready, busy, or its predictions have another form.

        Args:
            name: of a URL; None for the only model.

        Raises:
            ApiError: there is no such model, or no version is ready.
        """
        served = self.current if name is None else self.get(name)
        other = self.candidate._current if self.candidate and self._settings.canary else None
        if other is None or not self._may_answer(served.model, other.model):
            return served
        is_busy = other.batcher.waiting > self._settings.batching.max_queue // 2
        if is_busy or random.random() >= self._settings.canary:
            return served
        return replace(other, first=served)

    def _may_answer(self, first: ServedModel, second: ServedModel) -> bool:
        """Whether clients may get answers of the second model: each may be replaced at any time."""
        if (
            self._compared is None
            or self._compared[0] is not first
            or self._compared[1] is not second
        ):
            why = first.why_not_replaced_by(second)
            self._compared = first, second, not why
            if why:
                self._log(f"version {second.version} of the second model never answers: {why}")
        return self._compared[2]

    @property
    def all_served(self) -> list[ServedVersion]:
        """The served versions of this model and of the second one."""
        both = [self._current, self.candidate._current if self.candidate else None]
        return [served for served in both if served is not None]

    def states(self, name: str, version: int | None = None) -> list[dict[str, Any]]:
        """Return the state of every version, the newest first, in TensorFlow Serving's format.

        Raises:
            ApiError: there is no such model or version.
        """
        if name != self.source.name:
            raise ApiError(404, f"Could not find any versions of model {name}")
        states = {n: state for n, state in self._states.items() if version in (None, n)}
        if not states:
            raise ApiError(404, f"Could not find version {version} of model {name}")
        return [_status(number, *states[number]) for number in sorted(states, reverse=True)]

    async def watch(self) -> None:
        """Check for new versions repeatedly until cancelled."""
        while True:
            await asyncio.sleep(self._settings.poll_seconds)
            try:
                await self.poll()
            except Exception:  # the server survives a temporarily unavailable disk
                _log.exception("checking for new versions failed")

    async def poll(self) -> None:
        """Serve the newest valid version, if it is not served already."""
        versions = await asyncio.to_thread(self.source.versions)
        current = self._current.model.version if self._current else None
        for number, folder in versions.items():
            if number == current:
                return
            # taken before the version is read, so that files copied meanwhile change the stamp
            stamp = await asyncio.to_thread(stamp_of, folder)
            if self._rejected.get(number) == stamp:
                continue
            if await self._switch_to(number, folder, stamp):
                return

    async def _switch_to(self, number: int, folder: Path, stamp: Stamp) -> bool:
        self._states[number] = ("LOADING", "")
        try:
            model = await asyncio.to_thread(self._load, number, folder)
        except TltoolError as error:
            self._reject(number, stamp, error.message)
            return False
        except Exception as error:  # no permission, an unavailable disk, an unexpected export
            _log.exception("version %s cannot be loaded", number)
            self._reject(number, stamp, f"it cannot be loaded: {error}")
            return False
        old, self._current = self._current, self._served(model)
        self._states[number] = ("AVAILABLE", "")
        self._rejected.pop(number, None)
        self._metrics.version.set(number)
        if old is not None:
            drain = asyncio.create_task(self._drain(old))
            self._draining.add(drain)
            drain.add_done_callback(self._draining.discard)
        self._log(f"version {number} is now served ({model.checks})")
        return True

    def _reject(self, number: int, stamp: Stamp, reason: str) -> None:
        self._rejected[number] = stamp
        # the status for clients must not contain paths of the server
        self._states[number] = ("END", "The version is damaged or cannot be loaded")
        self._log(f"version {number} is not served: {reason}")

    async def _drain(self, old: ServedVersion) -> None:
        number = old.model.version
        self._states[number] = ("UNLOADING", "")
        await old.batcher.close()
        old.statistics.forget()
        self._states[number] = ("END", "")

    async def close(self) -> None:
        """Finish all running requests, then stop."""
        tasks = [*self._draining]
        if self._current is not None:
            tasks.append(asyncio.create_task(self._current.batcher.close()))
        if tasks:
            await asyncio.gather(*tasks, return_exceptions=True)


def _status(number: int, state: State, message: str) -> dict[str, Any]:
    code = "UNKNOWN" if message else "OK"
    return {
        "version": str(number),
        "state": state,
        "status": {"error_code": code, "error_message": message},
    }
