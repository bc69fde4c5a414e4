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
from tltool.serving.json_values import Arrays
from tltool.serving.prometheus import Metrics
from tltool.serving.requests import PredictRequest
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
    decoded: int = 0  # bytes of its large images, while they are decoded
    arrived: float = field(default_factory=time.monotonic)

    @property
    def key(self) -> tuple[object, ...]:
        """Pieces with the same key can share a batch."""
        if not self.signature.can_batch:
            return (id(self),)
        shapes = (array.shape[1:] for array in self.inputs.values())
        return (self.signature.name, self.decoded > 0, *shapes)


class Batcher:
    """Collects requests into batches and runs them in threads.

    Large images are decoded in batches of their own, within a budget of memory, and one thread is
    kept free of them: so that no other image waits for them.

    Args:
        run: runs the model; called from a thread.
        settings: batch sizes and delays.
        metrics: counts batches and queued items.
        decoded_bytes: budget for large images; a single one may take more.

    Attributes:
        failed_items: by signature, its outputs for one item that cannot be decoded.
    """

    def __init__(self, run: Run, settings: Batching, metrics: Metrics, decoded_bytes: int) -> None:
        self._run = run
        self._settings = settings
        self._metrics = metrics
        self._budget = decoded_bytes
        self._decoding: list[int] = []  # bytes of each batch of large images that runs
        self.failed_items: dict[str, Arrays] = {}
        self._pieces: deque[_Piece] = deque()
        self._arrived = asyncio.Event()
        self._assembling = asyncio.Lock()
        self._threads = ThreadPoolExecutor(settings.workers, thread_name_prefix="model")
        self._users = 0
        self._idle = asyncio.Event()
        self._idle.set()
        self._closed = False
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
            ApiError: it is closed, the queue is full, or the model rejects the inputs.
        """
        if self._closed:
            raise ApiError(503, "This version is no longer served", headers={"Retry-After": "1"})
        rows = max(1, request.rows)
        self.check_rows(rows)
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

    def check_rows(self, rows: int) -> None:
        """Check the number of items in a request.

        Raises:
            ApiError: it is larger than the queue.
        """
        if rows > self._settings.max_queue:
            raise ApiError(413, f"{rows} items in one request, over {self._settings.max_queue}")

    def _split(self, request: PredictRequest) -> list[_Piece]:
        """Return the items in pieces that fit into a batch and into the budget."""
        loop = asyncio.get_running_loop()
        if not request.rows:
            return [_Piece(request.signature, request.inputs, 1, loop.create_future())]
        decoded = request.decoded or (0,) * request.rows
        return [
            _Piece(
                request.signature,
                {name: array[begin:end] for name, array in request.inputs.items()},
                end - begin,
                loop.create_future(),
                sum(decoded[begin:end]),
            )
            for begin, end in self._parts(decoded)
        ]

    def _parts(self, decoded: Sequence[int]) -> Iterator[tuple[int, int]]:
        """Yield begin and end of each part of a request, given the bytes of each item."""
        begin, total = 0, 0
        for at, needed in enumerate(decoded):
            full = at - begin == self._settings.max_batch
            if at > begin and (full or (needed and total + needed > self._budget)):
                yield begin, at
                begin, total = at, 0
            total += needed
        yield begin, len(decoded)

    async def _work(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            async with self._assembling:
                pieces = await self._next_batch()
            self._metrics.waiting.set(self.waiting)
            try:
                with self._decodes(sum(piece.decoded for piece in pieces)):
                    results = await loop.run_in_executor(self._threads, self._run_pieces, pieces)
            except BaseException as error:
                results = [error] * len(pieces)
                if isinstance(error, asyncio.CancelledError):
                    raise
            for piece, result in zip(pieces, results, strict=True):
                _resolve(piece, result)

    async def _next_batch(self) -> list[_Piece]:
        while (head := self._next_piece()) is None:
            await self._next_arrival()
        until = head.arrived + self._settings.max_delay
        while self._rows_like(head) < self._settings.max_batch:
            left = until - time.monotonic()
            if left <= 0 or not await self._next_arrival(left):
                break
        return self._take(head)

    def _next_piece(self) -> _Piece | None:
        """Return the first piece that may run now."""
        busy = len(self._decoding) >= max(1, self._settings.workers - 1)
        for piece in self._pieces:
            fits = not self._decoding or sum(self._decoding) + piece.decoded <= self._budget
            if not piece.decoded or (fits and not busy):
                return piece
        return None

    @contextmanager
    def _decodes(self, needed: int) -> Iterator[None]:
        """Count the large images of a batch while it runs."""
        if not needed:
            yield
            return
        self._decoding.append(needed)
        try:
            yield
        finally:
            self._decoding.remove(needed)
            self._arrived.set()  # other large images may run now

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
        memory = max(self._budget - sum(self._decoding), head.decoded)
        for piece in self._pieces:
            if piece.key == key and piece.rows <= room and piece.decoded <= memory:
                taken.append(piece)
                room -= piece.rows
                memory -= piece.decoded
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
        """Wait until it is not in use, then end the threads; what comes later is refused."""
        await self._idle.wait()
        self._closed = True
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
