"""Robustness of `tltool serve` against invalid requests and during a shutdown under load.

python -m benchmarks.serving_robustness MODEL_BASE_DIR IMAGES [--requests 10000] [--clients 16]

5 % of the requests contain a damaged image, 1 % are too large, 1 % disconnect, 1 % are sent byte by
byte. Every response is compared with the prediction of the model without a server. Then SIGTERM is
sent under full load. Prints Markdown; the exit status is 1 if a response was wrong, missing or a
5xx, or if memory grew.
"""

import argparse
import asyncio
import itertools
import os
import random
import signal
import time
from collections import Counter, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import psutil

from benchmarks.loopback import Connection, served
from benchmarks.serving_requests import Job, Truth, classify_job, damaged, predict_job, too_large

SHARES = {"damaged": 0.05, "too large": 0.01, "hang up": 0.01, "trickle": 0.01}
TRICKLES = 32  # at a time
GROWTH = 1.1  # of the memory after a tenth of the requests
GONE = (OSError, EOFError)


@dataclass
class Tally:
    """The outcomes of all requests.

    Attributes:
        outcomes: how often each kind of request had each outcome.
        wrong: descriptions of wrong responses.
        memory: MiB of the server, over time.
    """

    outcomes: Counter[tuple[str, str]] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    memory: list[float] = field(default_factory=list)

    def count(self, kind: str, outcome: str, *, right: bool, detail: object = "") -> None:
        """Count one request."""
        self.outcomes[kind, outcome] += 1
        if not right:
            self.wrong.append(f"{kind}: {outcome} {detail}")


class LoadTest:
    """Requests of all kinds, from many concurrent clients.

    Args:
        port: of the server.
        name: of its model.
        images: encoded images that it can decode.
        truth: expected ``ok`` and probabilities of every content.
        body_bytes: largest request body that the server accepts.
        seed: for the order of the requests.
    """

    def __init__(
        self,
        port: int,
        name: str,
        images: Sequence[bytes],
        *,
        truth: Truth,
        body_bytes: int,
        seed: int = 0,
    ) -> None:
        self.port, self.name, self.images, self.truth = port, name, images, truth
        self.rng = random.Random(seed)
        self.large = itertools.cycle(too_large(name, body_bytes))
        self.bad = damaged(images)
        self.tally = Tally()

    def job(self, kind: str) -> Job:
        """Return a request with images, valid or damaged."""
        count = self.rng.choice((1, 1, 1, 2, 3))
        contents = self.rng.choices(self.images, k=count)
        if kind == "damaged":  # one of several images; the others must be classified
            contents[self.rng.randrange(count)] = self.rng.choice(self.bad)
        if self.rng.random() < 0.5:
            return classify_job(kind, contents, self.truth)
        row = self.rng.random() < 0.5
        return predict_job(kind, contents, self.truth, name=self.name, row=row)

    async def run(self, requests: int, clients: int, sample: Callable[[], float]) -> Tally:
        """Send all requests; ``sample`` returns the memory and is called eleven times."""
        kinds = [kind for kind, share in SHARES.items() for _ in range(round(share * requests))]
        kinds += ["whole"] * (requests - len(kinds))
        self.rng.shuffle(kinds)
        left, slow, gate = deque(kinds), [], asyncio.Semaphore(TRICKLES)
        marks = {round(part * requests / 10) for part in range(1, 11)}

        async def client() -> None:
            while left:
                async with Connection(self.port) as connection:
                    while left:
                        kind = left.popleft()
                        if requests - len(left) in marks:
                            self.tally.memory.append(sample())
                        if kind == "trickle":
                            slow.append(asyncio.create_task(self.trickle(len(slow), gate)))
                        elif await self.one(kind, connection):
                            break

        await asyncio.gather(*(client() for _ in range(clients)))
        await asyncio.gather(*slow)
        self.tally.memory.append(sample())
        return self.tally

    async def one(self, kind: str, connection: Connection) -> bool:
        """Send one request; return whether the connection has ended."""
        if kind == "hang up":
            request = self.job(kind).request
            until = self.rng.choice((len(request), self.rng.randrange(1, len(request))))
            connection.writer.write(request[:until])
            connection.writer.transport.abort()
            self.tally.count(kind, "hung up", right=True)
            return True
        job = next(self.large) if kind == "too large" else self.job(kind)
        try:
            response = await connection.send(job.request)
        except GONE as error:
            self.tally.count(kind, "no response", right=False, detail=repr(error))
            return True
        right = response.status in job.statuses and job.check(response.body)
        self.tally.count(kind, str(response.status), right=right, detail=response.body[:200])
        return response.last

    async def trickle(self, number: int, gate: asyncio.Semaphore) -> None:
        """Send single bytes with pauses, of the header or the body, until the server gives up."""
        kind = ("trickle, head", "trickle, body")[number % 2]
        request = self.job(kind).request
        begin = 0 if kind == "trickle, head" else request.index(b"\r\n\r\n") + 4
        async with gate, Connection(self.port) as connection:
            connection.writer.write(request[:begin])
            response = asyncio.create_task(connection.response())
            for position in range(begin, len(request)):
                connection.writer.write(request[position : position + 1])
                done, _ = await asyncio.wait([response], timeout=0.25)
                if done:
                    break
            try:
                outcome = str((await response).status)
            except GONE:
                outcome = "closed"
        self.tally.count(kind, outcome, right=outcome in ("closed", "408"))


async def stopped_under_load(load: LoadTest, stop: Callable[[], None], clients: int) -> Tally:
    """Call ``stop`` while ``clients`` send without a pause; half of them reconnect every time."""
    tally, started = Tally(), asyncio.Event()

    async def client(keeps: bool) -> None:
        while True:
            connection = Connection(load.port)
            try:
                await connection.__aenter__()
            except OSError:
                tally.count("stopping", "not accepted", right=True)
                return
            try:
                while await send(connection) and keeps:
                    pass
            except GONE as error:
                tally.count("stopping", "no response", right=False, detail=repr(error))
            await connection.__aexit__(None, None, None)

    async def send(connection: Connection) -> bool:
        job = load.job("whole")
        response = await connection.send(job.request)
        right = response.status in job.statuses and job.check(response.body)
        tally.count("stopping", str(response.status), right=right, detail=response.body[:200])
        if tally.outcomes.total() == 4 * clients:
            started.set()
        return not response.last

    tasks = [asyncio.create_task(client(number % 2 == 0)) for number in range(clients)]
    await started.wait()
    stop()
    await asyncio.gather(*tasks)
    return tally


def flat(memory: Sequence[float]) -> bool:
    """Return whether the memory did not grow after a tenth of the requests."""
    return memory[-1] <= GROWTH * memory[0]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", type=Path)
    parser.add_argument("images_folder", type=Path)
    parser.add_argument("--requests", type=int, default=10_000)
    parser.add_argument("--clients", type=int, default=16)
    parser.add_argument("--images", type=int, default=64)
    args = parser.parse_args()

    from tltool.data.sources.folders.folder import list_images
    from tltool.export.exported_model import load_exported
    from tltool.serving.settings import Limits

    items = list_images(args.images_folder).items[: args.images]
    images = [item.path.read_bytes() for item in items]
    exported = load_exported(args.model)
    truth = {}
    for content in [*images, *damaged(images)]:
        probabilities, ok = exported.predict([content])
        truth[content] = bool(ok[0]), probabilities[0]
    with served(args.model) as server:
        process = psutil.Process(server.process.pid)
        options = {"truth": truth, "body_bytes": Limits().body_bytes}
        load = LoadTest(server.port, server.name, images, **options)
        began, handles = time.perf_counter(), process.num_fds()
        memory = lambda: process.memory_info().rss / 2**20  # noqa: E731
        tally = asyncio.run(load.run(args.requests, args.clients, memory))
        seconds = time.perf_counter() - began
        report(tally, args, seconds, (handles, process.num_fds()))
        stop = partial(server.process.send_signal, signal.SIGTERM)
        ended = asyncio.run(stopped_under_load(load, stop, args.clients))
        status = server.process.wait(60)
    counts = ", ".join(f"{n} {outcome}" for (_, outcome), n in sorted(ended.outcomes.items()))
    print(f"\nSIGTERM under load of {args.clients} clients: {counts}; exit status {status}.")
    wrong = [*tally.wrong, *ended.wrong]
    for one in wrong[:20]:
        print(f"wrong: {one}")
    return int(bool(wrong) or status != 0 or not flat(tally.memory))


def report(
    tally: Tally, args: argparse.Namespace, seconds: float, handles: tuple[int, int]
) -> None:
    """Print the outcomes."""
    print(f"{args.requests} requests from {args.clients} clients in {seconds:.0f} s.\n")
    print("| request | outcome | times |\n|---|---|---|")
    for (kind, outcome), times in sorted(tally.outcomes.items()):
        print(f"| {kind} | {outcome} | {times} |")
    memory = ", ".join(f"{size:.0f}" for size in tally.memory)
    print(f"\nWrong: {len(tally.wrong)}. Memory of the server (MiB): {memory}.")
    print(f"Open handles: {handles[0]} before, {handles[1]} after.")


if __name__ == "__main__":
    raise SystemExit(main())
