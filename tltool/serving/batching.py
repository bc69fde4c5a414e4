"""Items of several requests as one batch: the model is asked seldom and with many at once."""

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
from tltool.serving.requests import Arrays, Question
from tltool.serving.settings import Batching
from tltool.serving.signatures import Signature

Run = Callable[[Signature, Arrays], Arrays]


@dataclass(eq=False)
class _Piece:
    """Items of one request that run together."""

    signature: Signature
    inputs: Arrays
    rows: int
    answer: asyncio.Future[Arrays]
    came: float = field(default_factory=time.monotonic)

    @property
    def key(self) -> tuple[object, ...]:
        """Pieces with the same key can share a batch."""
        if not self.signature.batches:
            return (id(self),)
        shapes = (array.shape[1:] for array in self.inputs.values())
        return (self.signature.name, *shapes)


class Batcher:
    """Puts what is asked into batches and has them run in threads.

    Args:
        run: asks the model; called from a thread.
        settings: sizes and times.
        metrics: that count.
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
        self._unused = asyncio.Event()
        self._unused.set()
        self._workers = [asyncio.create_task(self._work()) for _ in range(settings.workers)]

    @contextmanager
    def used(self) -> Iterator[None]:
        """Keep it open: it is entered with nothing awaited since it was looked up."""
        self._users += 1
        self._unused.clear()
        try:
            yield
        finally:
            self._users -= 1
            if not self._users:
                self._unused.set()

    @property
    def waiting(self) -> int:
        """Items in the queue."""
        return sum(piece.rows for piece in self._pieces)

    async def ask(self, question: Question) -> Arrays:
        """Return the outputs for ``question``.

        Raises:
            ApiError: the queue is full, or the model refuses the inputs.
        """
        rows = max(1, question.rows)
        if rows > self._settings.max_queue:
            raise ApiError(413, f"{rows} items in one request, over {self._settings.max_queue}")
        if self.waiting + rows > self._settings.max_queue:
            raise too_busy()
        pieces = self._cut(question)
        self._pieces.extend(pieces)
        self._arrived.set()
        self._metrics.waiting.set(self.waiting)
        found = await asyncio.gather(*(piece.answer for piece in pieces), return_exceptions=True)
        parts = []
        for one in found:
            if isinstance(one, BaseException):
                raise one
            parts.append(one)
        return parts[0] if len(parts) == 1 else _joined(parts)

    def _cut(self, question: Question) -> list[_Piece]:
        """Return the items in pieces that fit into a batch."""
        loop, largest = asyncio.get_running_loop(), self._settings.max_batch
        if question.rows <= largest:
            cuts = [question.inputs]
        else:
            cuts = [
                {name: array[at : at + largest] for name, array in question.inputs.items()}
                for at in range(0, question.rows, largest)
            ]
        count = len(cuts)
        sizes = [min(largest, question.rows - n * largest) for n in range(count)]
        return [
            _Piece(question.signature, inputs, max(1, rows), loop.create_future())
            for inputs, rows in zip(cuts, sizes, strict=True)
        ]

    async def _work(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            async with self._assembling:
                pieces = await self._next_batch()
            self._metrics.waiting.set(self.waiting)
            try:
                answers = await loop.run_in_executor(self._threads, self._answers, pieces)
            except BaseException as error:
                answers = [error] * len(pieces)
                if isinstance(error, asyncio.CancelledError):
                    raise
            for piece, answer in zip(pieces, answers, strict=True):
                _give(piece, answer)

    async def _next_batch(self) -> list[_Piece]:
        while not self._pieces:
            await self._another()
        head = self._pieces[0]
        until = head.came + self._settings.max_delay
        while self._rows_like(head) < self._settings.max_batch:
            left = until - time.monotonic()
            if left <= 0 or not await self._another(left):
                break
        return self._take(head)

    async def _another(self, seconds: float | None = None) -> bool:
        """Wait for a piece to come; return whether one came in time."""
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
        """Remove from the queue, in order, what runs with its first piece."""
        key, room = head.key, self._settings.max_batch
        taken: list[_Piece] = []
        for piece in self._pieces:
            if piece.key == key and piece.rows <= room:
                taken.append(piece)
                room -= piece.rows
        chosen = set(map(id, taken))
        self._pieces = deque(piece for piece in self._pieces if id(piece) not in chosen)
        return taken

    def _answers(self, pieces: Sequence[_Piece]) -> list[Arrays | BaseException]:
        """Run a batch; where it fails as a whole, each piece alone. Called from a thread."""
        try:
            return self._together(pieces)
        except Exception as error:
            if len(pieces) == 1:
                return [error]
        return [answer for piece in pieces for answer in self._answers([piece])]

    def _together(self, pieces: Sequence[_Piece]) -> list[Arrays | BaseException]:
        inputs = pieces[0].inputs if len(pieces) == 1 else _joined([p.inputs for p in pieces])
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
        """Wait until nobody uses it, then end the threads."""
        await self._unused.wait()
        for worker in self._workers:
            worker.cancel()
        await asyncio.gather(*self._workers, return_exceptions=True)
        self._threads.shutdown(wait=False)


def _give(piece: _Piece, answer: Arrays | BaseException) -> None:
    if piece.answer.done():  # its client has gone
        return
    if isinstance(answer, BaseException):
        piece.answer.set_exception(answer)
    else:
        piece.answer.set_result(answer)


def _joined(parts: Sequence[Arrays]) -> Arrays:
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
