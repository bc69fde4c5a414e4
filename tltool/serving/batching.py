"""Request batching: the items of several requests run through the model as one batch."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np

from tltool.serving.api_errors import ApiError, too_busy
from tltool.serving.prometheus import Metrics
from tltool.serving.requests import Arrays, PredictRequest
from tltool.serving.settings import Batching
from tltool.serving.signatures import Signature

Run = Callable[[Signature, Arrays], Arrays]


@dataclass(eq=False)
class _Piece:
    """Items of one request that run in the same batch."""

    signature: Signature
    inputs: Arrays
    rows: int
    outputs: asyncio.Future[Arrays]
    arrived: float = field(default_factory=time.monotonic)

    @property
    def key(self) -> tuple[object, ...]:
        """Pieces with the same key can share a batch."""
        if not self.signature.can_batch:
            return (id(self),)
        shapes = (array.shape[1:] for array in self.inputs.values())
        return (self.signature.name, *shapes)


class Batcher:
    """Collects requests into batches and runs them in threads.

    Args:
        run: runs the model; called from a thread.
        settings: batch sizes and delays.
        metrics: counts batches and queued items.
    """

    def __init__(self, run: Run, settings: Batching, metrics: Metrics) -> None:
        self._run = run
        self._settings = settings
        self._metrics = metrics
        self._pieces: deque[_Piece] = deque()
        self._arrived = asyncio.Event()
        self._assembling = asyncio.Lock()
        self._threads = ThreadPoolExecutor(settings.workers, thread_name_prefix="model")
        self._users = 0
        self._idle = asyncio.Event()
        self._idle.set()
        self._workers = [asyncio.create_task(self._work()) for _ in range(settings.workers)]

    @contextmanager
    def in_use(self) -> Iterator[None]:
        """Keep the batcher open; enter it without an await after looking the batcher up."""
        self._users += 1
        self._idle.clear()
        try:
            yield
        finally:
            self._users -= 1
            if not self._users:
                self._idle.set()

    @property
    def waiting(self) -> int:
        """Number of items in the queue."""
        return sum(piece.rows for piece in self._pieces)

    async def predict(self, request: PredictRequest) -> Arrays:
        """Return the outputs for ``request``.

        Raises:
            ApiError: the queue is full, or the model rejects the inputs.
        """
        rows = max(1, request.rows)
        if rows > self._settings.max_queue:
            raise ApiError(413, f"{rows} items in one request, over {self._settings.max_queue}")
        if self.waiting + rows > self._settings.max_queue:
            raise too_busy()
        pieces = self._split(request)
        self._pieces.extend(pieces)
        self._arrived.set()
        self._metrics.waiting.set(self.waiting)
        results = await asyncio.gather(*(piece.outputs for piece in pieces), return_exceptions=True)
        parts = []
        for result in results:
            if isinstance(result, BaseException):
                raise result
            parts.append(result)
        return parts[0] if len(parts) == 1 else _concatenate(parts)

    def _split(self, request: PredictRequest) -> list[_Piece]:
        """Return the items in pieces that fit into a batch."""
        loop, largest = asyncio.get_running_loop(), self._settings.max_batch
        if request.rows <= largest:
            parts = [request.inputs]
        else:
            parts = [
                {name: array[at : at + largest] for name, array in request.inputs.items()}
                for at in range(0, request.rows, largest)
            ]
        sizes = [min(largest, request.rows - n * largest) for n in range(len(parts))]
        return [
            _Piece(request.signature, inputs, max(1, rows), loop.create_future())
            for inputs, rows in zip(parts, sizes, strict=True)
        ]

    async def _work(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            async with self._assembling:
                pieces = await self._next_batch()
            self._metrics.waiting.set(self.waiting)
            try:
                results = await loop.run_in_executor(self._threads, self._run_pieces, pieces)
            except BaseException as error:
                results = [error] * len(pieces)
                if isinstance(error, asyncio.CancelledError):
                    raise
            for piece, result in zip(pieces, results, strict=True):
                _resolve(piece, result)

    async def _next_batch(self) -> list[_Piece]:
        while not self._pieces:
            await self._next_arrival()
        head = self._pieces[0]
        until = head.arrived + self._settings.max_delay
        while self._rows_like(head) < self._settings.max_batch:
            left = until - time.monotonic()
            if left <= 0 or not await self._next_arrival(left):
                break
        return self._take(head)

    async def _next_arrival(self, seconds: float | None = None) -> bool:
        """Wait for a piece to arrive; return whether one arrived in time."""
        self._arrived.clear()
        try:
            await asyncio.wait_for(self._arrived.wait(), seconds)
        except TimeoutError:
            return False
        return True

    def _rows_like(self, head: _Piece) -> int:
        key = head.key
        return sum(piece.rows for piece in self._pieces if piece.key == key)

    def _take(self, head: _Piece) -> list[_Piece]:
        """Remove from the queue, in order, the pieces that run with ``head``."""
        key, room = head.key, self._settings.max_batch
        taken: list[_Piece] = []
        for piece in self._pieces:
            if piece.key == key and piece.rows <= room:
                taken.append(piece)
                room -= piece.rows
        chosen = set(map(id, taken))
        self._pieces = deque(piece for piece in self._pieces if id(piece) not in chosen)
        return taken

    def _run_pieces(self, pieces: Sequence[_Piece]) -> list[Arrays | BaseException]:
        """Run a batch; if it fails as a whole, run each piece alone. Called from a thread."""
        try:
            return self._run_batch(pieces)
        except Exception as error:
            if len(pieces) == 1:
                return [error]
        return [result for piece in pieces for result in self._run_pieces([piece])]

    def _run_batch(self, pieces: Sequence[_Piece]) -> list[Arrays | BaseException]:
        inputs = pieces[0].inputs if len(pieces) == 1 else _concatenate([p.inputs for p in pieces])
        started = time.perf_counter()
        outputs = self._run(pieces[0].signature, inputs)
        self._metrics.batch_seconds.observe(time.perf_counter() - started)
        self._metrics.batch_items.observe(sum(piece.rows for piece in pieces))
        if len(pieces) == 1:
            return [outputs]
        ends = np.cumsum([piece.rows for piece in pieces])
        return [
            {name: array[end - piece.rows : end] for name, array in outputs.items()}
            for piece, end in zip(pieces, ends, strict=True)
        ]

    async def close(self) -> None:
        """Wait until it is not in use, then end the threads."""
        await self._idle.wait()
        for worker in self._workers:
            worker.cancel()
        await asyncio.gather(*self._workers, return_exceptions=True)
        self._threads.shutdown(wait=False)


def _resolve(piece: _Piece, result: Arrays | BaseException) -> None:
    if piece.outputs.done():  # its client has disconnected
        return
    if isinstance(result, BaseException):
        piece.outputs.set_exception(result)
    else:
        piece.outputs.set_result(result)


def _concatenate(parts: Sequence[Arrays]) -> Arrays:
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
