"""How much of the bare model `tltool serve` passes on, in one run.

python -m benchmarks.serving MODEL_BASE_DIR PHOTOS [--rounds 3] [--clients 16] [--photos 96]

Prints Markdown with ratios. Server, load generator and bare model share the machine's cores; bare
and served rounds alternate; everything goes over the loopback interface.
"""

import argparse
import asyncio
import base64
import itertools
import json
import os
import random
import statistics
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("TF_XLA_FLAGS", "--tf_xla_cpu_global_jit")  # asked for nowhere but below

import numpy as np
import psutil
import tensorflow as tf

from benchmarks.loopback import Connection, post, served
from tltool.data.decoding.decode import decode_batch
from tltool.data.sources.folder import list_images
from tltool.export.exported_model import ExportedModel, load_exported

BATCH = 16
PARITY = 1e-5  # of a probability: what the gate of an exported SavedModel allows
SWITCHES: dict[str, Callable[[bool], object]] = {
    "bfloat16, by oneDNN": lambda on: tf.config.optimizer.set_experimental_options(
        {"auto_mixed_precision_onednn_bfloat16": on}
    ),
    "XLA, where it can compile": tf.config.optimizer.set_jit,
}
median = statistics.median


def clock(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def row(*cells: str) -> None:
    print(f"| {' | '.join(cells)} |")


def request_of(name: str, photo: bytes) -> bytes:
    content = {"instances": [{"image_bytes": {"b64": base64.b64encode(photo).decode()}}]}
    return post(f"/v1/models/{name}:predict", json.dumps(content).encode())


async def ask(connection: Connection, request: bytes) -> float:
    """Return the seconds until the answer."""
    started = time.perf_counter()
    answer = await connection.ask(request)
    if answer.status != 200:
        raise SystemExit(f"{answer.status} {answer.body[:200]}")
    return time.perf_counter() - started


def closed_loop(ports: Sequence[int], requests: Sequence[bytes], clients: int) -> list[float]:
    """Each client asks, waits for the answer, asks again; return the latencies."""
    left = list(requests)

    async def one(port: int) -> list[float]:
        async with Connection(port) as connection:
            return [await ask(connection, left.pop()) for _ in iter(lambda: bool(left), False)]

    async def all_of_them() -> list[list[float]]:
        return await asyncio.gather(*(one(ports[n % len(ports)]) for n in range(clients)))

    return [seconds for some in asyncio.run(all_of_them()) for seconds in some]


def open_loop(port: int, requests: Sequence[bytes], pauses: Iterable[float]) -> list[float]:
    """Ask after each pause, whatever is unanswered; return the seconds since each was due."""
    latencies = []

    async def one(request: bytes, due: float) -> None:
        async with Connection(port) as connection:
            await ask(connection, request)
        latencies.append(time.perf_counter() - due)

    async def all_of_them() -> None:
        due, tasks = time.perf_counter(), []
        for request, pause in zip(requests, pauses, strict=False):
            due += pause
            await asyncio.sleep(max(0.0, due - time.perf_counter()))
            tasks.append(asyncio.create_task(one(request, due)))
        await asyncio.gather(*tasks)

    asyncio.run(all_of_them())
    return latencies


def in_batches(exported: ExportedModel, photos: Sequence[bytes]) -> None:
    for at in range(0, len(photos), BATCH):
        exported.predict(photos[at : at + BATCH])


def through_the_server(exported: ExportedModel, photos: list[bytes], given) -> None:
    """Print throughput and latency, bare and served, in turns."""
    n, bare, through, single, alone = len(photos), [], [], [], []
    with served(given.model, given.serve.split()) as server:
        requests = [request_of(server.name, photo) for photo in photos]
        ports = [server.port]
        closed_loop(ports, requests, given.clients)
        for _ in range(given.rounds):
            bare.append(n / clock(lambda: in_batches(exported, photos)))
            through.append(n / clock(lambda: closed_loop(ports, requests, given.clients)))
            single += [
                clock(lambda photo=photo: exported.predict([photo])) for photo in photos[:16]
            ]
            alone += closed_loop(ports, requests[:16], 1)
        rate = median(through) / 2
        rng = random.Random(0)
        at_random = (rng.expovariate(rate) for _ in itertools.count())
        even = open_loop(server.port, requests, itertools.repeat(1 / rate))
        late = open_loop(server.port, requests * 2, at_random)
    row(
        f"{given.clients} clients against the bare model in batches of {BATCH} (n = {n} images, "
        f"{given.rounds} rounds)",
        f"{median(through):.1f} against {median(bare):.1f} photos/s",
        f"{median(s / b for s, b in zip(through, bare, strict=True)):.2f}",
    )
    row(
        f"latency of one client against the bare model with one image, medians of {len(alone)}",
        f"{1e3 * median(alone):.1f} against {1e3 * median(single):.1f} ms",
        f"{median(alone) / median(single):.2f}",
    )
    for how, found in (("in even steps", even), ("at random moments", late)):
        worst = float(np.percentile(found, 99))
        row(
            f"p99 at half load, {rate:.1f} photos/s {how} (n = {len(found)}, median "
            f"{1e3 * median(found):.0f} ms), against the latency of one client",
            f"{1e3 * worst:.0f} against {1e3 * median(alone):.0f} ms",
            f"{worst / median(alone):.2f}",
        )


def rate_and_memory(photos: list[bytes], given, count: int, **env: str) -> tuple[float, float]:
    """Return images a second and MiB of ``count`` servers that share the clients."""
    with ExitStack() as stack:
        servers = [
            stack.enter_context(served(given.model, given.serve.split(), env=env))
            for _ in range(count)
        ]
        requests = [request_of(servers[0].name, photo) for photo in photos]
        ports = [server.port for server in servers]
        closed_loop(ports, requests, given.clients)
        times = [
            clock(lambda: closed_loop(ports, requests, given.clients)) for _ in range(given.rounds)
        ]
        held = sum(psutil.Process(one.process.pid).memory_info().rss for one in servers)
    return len(photos) / median(times), held / 2**20


def processes(photos: list[bytes], given) -> None:
    """Print one shared model against one process per core."""
    cores = os.cpu_count() or 1
    shared, shared_memory = rate_and_memory(photos, given, 1)
    one_thread = {"TF_NUM_INTRAOP_THREADS": "1"}
    apart, apart_memory = rate_and_memory(photos, given, cores, **one_thread)
    row(
        f"one model shared by {cores} cores ({shared_memory:.0f} MiB) against {cores} processes of "
        f"one core each ({apart_memory:.0f} MiB), {given.clients} clients",
        f"{shared:.1f} against {apart:.1f} photos/s",
        f"{shared / apart:.2f}",
    )


def signatures(exported: ExportedModel, photos: list[bytes], rounds: int) -> None:
    """Print what the signature over bytes costs besides decoding and the one over pixels."""
    decode = tf.function(
        lambda data: decode_batch(data, exported.decode),
        input_signature=[tf.TensorSpec([None], tf.string)],
        autograph=False,
    )
    pixels = exported._loaded.signatures["images"]
    batch = photos[:BATCH]

    def both() -> None:
        pixels(images=decode(tf.constant(batch, tf.string))[0])["probabilities"].numpy()

    both()
    pairs = [(clock(lambda: exported.predict(batch)), clock(both)) for _ in range(4 * rounds)]
    bytes_ms, both_ms = (1e3 * median(side) for side in zip(*pairs, strict=True))
    row(
        f"signature over bytes against decoding and the signature over pixels (batches of {BATCH}, "
        f"n = {len(pairs)} pairs)",
        f"{bytes_ms:.0f} against {both_ms:.0f} ms",
        f"{median(a / b for a, b in pairs):.2f}",
    )


def arithmetic(exported: ExportedModel, photos: list[bytes], rounds: int) -> None:
    """Print what bfloat16 and XLA give, and whether the parity gate would let them pass."""
    pixels = exported._loaded.signatures["images"]
    batches = [
        decode_batch(tf.constant(photos[at : at + BATCH], tf.string), exported.decode)[0]
        for at in range(0, len(photos) - BATCH + 1, BATCH)
    ]
    for name, switch in SWITCHES.items():
        seconds: dict[bool, list[float]] = {False: [], True: []}
        answers = {}
        for on in (False, True):
            switch(on)
            found = [pixels(images=one)["probabilities"].numpy() for one in batches]
            answers[on] = np.concatenate(found)
        for one in batches * rounds:
            for on, times in seconds.items():
                switch(on)
                times.append(clock(lambda one=one: pixels(images=one)))
        switch(False)
        worst = float(np.abs(answers[True] - answers[False]).max())
        verdict = "passes" if worst <= PARITY else "fails"
        row(
            f"float32 against {name} (batches of {BATCH}, n = {len(batches) * rounds} pairs); it "
            f"{verdict} the gate: a probability differs by {worst:.1g}",
            f"{1e3 * median(seconds[False]):.0f} against {1e3 * median(seconds[True]):.0f} ms",
            f"{median(a / b for a, b in zip(*seconds.values(), strict=True)):.2f}",
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", type=Path)
    parser.add_argument("photos_folder", type=Path)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--clients", type=int, default=16)
    parser.add_argument("--photos", type=int, default=96)
    parser.add_argument("--serve", default="", help="options of tltool serve, in one string")
    given = parser.parse_args()
    items = list_images(given.photos_folder).items[: given.photos]
    photos = [item.path.read_bytes() for item in items]
    exported = load_exported(given.model)
    exported.predict(photos[:BATCH])
    exported.predict(photos[:1])
    print(f"Load of the machine at the start: {os.getloadavg()[0]:.2f}\n")
    print("| what | measured | ratio |\n|---|---|---|")
    through_the_server(exported, photos, given)
    processes(photos, given)
    signatures(exported, photos, given.rounds)
    arithmetic(exported, photos, given.rounds)


if __name__ == "__main__":
    main()
