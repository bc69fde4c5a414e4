"""The versions of one model: the newest that is whole is served, and later ones take over."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from tltool.errors import DataError, TltoolError
from tltool.serving.api_errors import ApiError
from tltool.serving.batching import Batcher
from tltool.serving.model_source import SAVED_MODEL_FILE, Source
from tltool.serving.prometheus import Metrics
from tltool.serving.served_model import ServedModel, load_version
from tltool.serving.settings import Settings

State = Literal["LOADING", "AVAILABLE", "UNLOADING", "END"]
Stamp = tuple[tuple[str, int, int], ...]
_log = logging.getLogger("tltool.serving")


@dataclass(frozen=True)
class Serving:
    """A version and the queue before it."""

    model: ServedModel
    batcher: Batcher


class Repository:
    """Serves one model; swaps its version while requests go on.

    Args:
        source: where versions come from.
        settings: sizes and times.
        metrics: that count.
        say: told in one sentence what becomes of a version.
    """

    def __init__(
        self, source: Source, settings: Settings, metrics: Metrics, say: Callable[[str], None]
    ) -> None:
        self.source = source
        self._settings = settings
        self._metrics = metrics
        self._say = say
        self._current: Serving | None = None
        self._loaded: ServedModel | None = None
        self._states: dict[int, tuple[State, str]] = {}
        self._refused: dict[int, Stamp] = {}
        self._draining: set[asyncio.Task[None]] = set()

    def load_first(self) -> ServedModel:
        """Load the newest version that can be served, before the server starts.

        Raises:
            TltoolError: there is none; the error of the newest is told.
        """
        found = self.source.found()
        if not found:
            raise DataError(
                f"'{self.source.folder}' has no version to serve: no folder with a number and "
                f"{SAVED_MODEL_FILE} is in it",
                hint="give the folder that `tltool export` or `tltool finetune` wrote to",
            )
        problems: list[TltoolError] = []
        for number, folder in found.items():
            stamp = _stamp(folder)
            try:
                self._loaded = load_version(self.source.name, number, folder)
            except TltoolError as error:
                problems.append(error)
                if len(found) > 1:
                    self._refuse(number, stamp, error.message)
                continue
            self._metrics.version.set(number)
            self._states[number] = ("AVAILABLE", "")
            return self._loaded
        raise problems[0]

    def start(self) -> None:
        """Begin to answer; called in the server's event loop."""
        if self._loaded is not None:
            self._current = self._serving(self._loaded)

    def _serving(self, model: ServedModel) -> Serving:
        return Serving(model, Batcher(model.run, self._settings.batching, self._metrics))

    @property
    def current(self) -> Serving:
        """What is served now.

        Raises:
            ApiError: nothing.
        """
        if self._current is None:
            raise ApiError(503, "No version is ready yet", headers={"Retry-After": "1"})
        return self._current

    def named(self, name: str, version: int | None = None) -> Serving:
        """Return the version that an address names.

        Raises:
            ApiError: it is not served.
        """
        if name != self.source.name:
            wanted = f"Latest({name})" if version is None else f"Specific({name}, {version})"
            raise ApiError(404, f"Servable not found for request: {wanted}")
        current = self.current
        if version is not None and version != current.model.version:
            raise ApiError(404, f"Servable not found for request: Specific({name}, {version})")
        return current

    def states(self, name: str, version: int | None = None) -> list[dict[str, Any]]:
        """Return the state of every version, the newest first, in TensorFlow Serving's form.

        Raises:
            ApiError: there is no such model or version.
        """
        if name != self.source.name:
            raise ApiError(404, f"Could not find any versions of model {name}")
        known = {n: told for n, told in self._states.items() if version in (None, n)}
        if not known:
            raise ApiError(404, f"Could not find version {version} of model {name}")
        return [_state(number, *known[number]) for number in sorted(known, reverse=True)]

    async def watch(self) -> None:
        """Look for new versions for ever."""
        while True:
            await asyncio.sleep(self._settings.poll_seconds)
            try:
                await self.look()
            except Exception:  # a disk that is away for a while ends no server
                _log.exception("looking for versions failed")

    async def look(self) -> None:
        """Serve the newest version that can be, if it is not the one served."""
        found = await asyncio.to_thread(self.source.found)
        serving = self._current.model.version if self._current else None
        for number, folder in found.items():
            if number == serving:
                return
            # taken before the version is read: what is copied meanwhile makes it another
            stamp = await asyncio.to_thread(_stamp, folder)
            if self._refused.get(number) == stamp:
                continue
            if await self._switch_to(number, folder, stamp):
                return

    async def _switch_to(self, number: int, folder: Path, stamp: Stamp) -> bool:
        self._states[number] = ("LOADING", "")
        try:
            model = await asyncio.to_thread(load_version, self.source.name, number, folder)
        except TltoolError as error:
            self._refuse(number, stamp, error.message)
            return False
        except Exception as error:  # no permission, a disk that is away, an export never seen
            _log.exception("version %s cannot be loaded", number)
            self._refuse(number, stamp, f"it cannot be loaded: {error}")
            return False
        old, self._current = self._current, self._serving(model)
        self._states[number] = ("AVAILABLE", "")
        self._refused.pop(number, None)
        self._metrics.version.set(number)
        if old is not None:
            drain = asyncio.create_task(self._drain(old))
            self._draining.add(drain)
            drain.add_done_callback(self._draining.discard)
        self._say(f"version {number} is served now ({model.proof})")
        return True

    def _refuse(self, number: int, stamp: Stamp, problem: str) -> None:
        self._refused[number] = stamp
        # the answer to clients names no file of the server
        self._states[number] = ("END", "The version is damaged or cannot be loaded")
        self._say(f"version {number} is not served: {problem}")

    async def _drain(self, old: Serving) -> None:
        number = old.model.version
        self._states[number] = ("UNLOADING", "")
        await old.batcher.close()
        self._states[number] = ("END", "")

    async def close(self) -> None:
        """Answer all that was asked, then stop."""
        waits = [*self._draining]
        if self._current is not None:
            waits.append(asyncio.create_task(self._current.batcher.close()))
        if waits:
            await asyncio.gather(*waits, return_exceptions=True)


def _state(number: int, state: State, problem: str) -> dict[str, Any]:
    code = "UNKNOWN" if problem else "OK"
    return {
        "version": str(number),
        "state": state,
        "status": {"error_code": code, "error_message": problem},
    }


def _stamp(folder: Path) -> Stamp:
    """Return names, sizes and times of the files, which change when a copy goes on."""
    try:
        return tuple(
            sorted(
                (str(path.relative_to(folder)), status.st_size, status.st_mtime_ns)
                for path in folder.rglob("*")
                if (status := path.stat()) and path.is_file()
            )
        )
    except OSError:
        return ()
