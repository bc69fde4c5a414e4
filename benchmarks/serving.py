"""Throughput and latency of `tltool serve`, relative to the model without a server.

python -m benchmarks.serving MODEL_BASE_DIR IMAGES [--rounds 3] [--clients 16] [--images 96]

Prints Markdown with ratios. The server, the load generator and the model without a server share the
cores of the machine; rounds with and without the server alternate; all requests use the loopback
interface.
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
os.environ.setdefault("TF_XLA_FLAGS", "--tf_xla_cpu_global_jit")  # used only in ``arithmetic``

import numpy as np
import psutil
import tensorflow as tf

from benchmarks.loopback import Connection, post, served
from tltool.data.decoding.decode import decode_batch
from tltool.data.sources.folders.folder import list_images
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


def request_of(name: str, image: bytes) -> bytes:
    content = {"instances": [{"image_bytes": {"b64": base64.b64encode(image).decode()}}]}
    return post(f"/v1/models/{name}:predict", json.dumps(content).encode())


async def send(connection: Connection, request: bytes) -> float:
    """Return the seconds until the response."""
    started = time.perf_counter()
    response = await connection.send(request)
    if response.status != 200:
        raise SystemExit(f"{response.status} {response.body[:200]}")
    return time.perf_counter() - started


def closed_loop(ports: Sequence[int], requests: Sequence[bytes], clients: int) -> list[float]:
    """Each client sends its next request after the response; return the latencies."""
    left = list(requests)

    async def one(port: int) -> list[float]:
        async with Connection(port) as connection:
            return [await send(connection, left.pop()) for _ in iter(lambda: bool(left), False)]

    async def all_of_them() -> list[list[float]]:
        return await asyncio.gather(*(one(ports[n % len(ports)]) for n in range(clients)))

    return [seconds for some in asyncio.run(all_of_them()) for seconds in some]


def open_loop(port: int, requests: Sequence[bytes], pauses: Iterable[float]) -> list[float]:
    """Send a request after each pause, without waiting; return the seconds since it was due."""
    latencies = []

    async def one(request: bytes, due: float) -> None:
        async with Connection(port) as connection:
            await send(connection, request)
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


def in_batches(exported: ExportedModel, images: Sequence[bytes]) -> None:
    for at in range(0, len(images), BATCH):
        exported.predict(images[at : at + BATCH])


def throughput(exported: ExportedModel, images: list[bytes], args) -> None:
    """Print throughput and latency with and without the server, in alternating rounds."""
    n, bare, through, single, alone = len(images), [], [], [], []
    with served(args.model, args.serve.split()) as server:
        requests = [request_of(server.name, image) for image in images]
        ports = [server.port]
        closed_loop(ports, requests, args.clients)
        for _ in range(args.rounds):
            bare.append(n / clock(lambda: in_batches(exported, images)))
            through.append(n / clock(lambda: closed_loop(ports, requests, args.clients)))
            single += [
                clock(lambda image=image: exported.predict([image])) for image in images[:16]
            ]
            alone += closed_loop(ports, requests[:16], 1)
        rate = median(through) / 2
        rng = random.Random(0)
        at_random = (rng.expovariate(rate) for _ in itertools.count())
        even = open_loop(server.port, requests, itertools.repeat(1 / rate))
        late = open_loop(server.port, requests * 2, at_random)
    row(
        f"{args.clients} clients against the model without a server in batches of {BATCH} "
        f"(n = {n} images, {args.rounds} rounds)",
        f"{median(through):.1f} against {median(bare):.1f} images/s",
        f"{median(s / b for s, b in zip(through, bare, strict=True)):.2f}",
    )
    row(
        f"latency of one client against the model without a server and one image, medians of "
        f"{len(alone)}",
        f"{1e3 * median(alone):.1f} against {1e3 * median(single):.1f} ms",
        f"{median(alone) / median(single):.2f}",
    )
    for how, latencies in (("at a constant rate", even), ("at random times", late)):
        p99 = float(np.percentile(latencies, 99))
        row(
            f"p99 at half load, {rate:.1f} images/s {how} (n = {len(latencies)}, median "
            f"{1e3 * median(latencies):.0f} ms), against the latency of one client",
            f"{1e3 * p99:.0f} against {1e3 * median(alone):.0f} ms",
            f"{p99 / median(alone):.2f}",
        )


def rate_and_memory(images: list[bytes], args, count: int, **env: str) -> tuple[float, float]:
    """Return images per second and MiB of ``count`` servers that share the clients."""
    with ExitStack() as stack:
        servers = [
            stack.enter_context(served(args.model, args.serve.split(), env=env))
            for _ in range(count)
        ]
        requests = [request_of(servers[0].name, image) for image in images]
        ports = [server.port for server in servers]
        closed_loop(ports, requests, args.clients)
        times = [
            clock(lambda: closed_loop(ports, requests, args.clients)) for _ in range(args.rounds)
        ]
        memory = sum(psutil.Process(one.process.pid).memory_info().rss for one in servers)
    return len(images) / median(times), memory / 2**20


def processes(images: list[bytes], args) -> None:
    """Print one shared model against one process per core."""
    cores = os.cpu_count() or 1
    shared, shared_memory = rate_and_memory(images, args, 1)
    one_thread = {"TF_NUM_INTRAOP_THREADS": "1"}
    apart, apart_memory = rate_and_memory(images, args, cores, **one_thread)
    row(
        f"one model shared by {cores} cores ({shared_memory:.0f} MiB) against {cores} processes of "
        f"one core each ({apart_memory:.0f} MiB), {args.clients} clients",
        f"{shared:.1f} against {apart:.1f} images/s",
        f"{shared / apart:.2f}",
    )


def signatures(exported: ExportedModel, images: list[bytes], rounds: int) -> None:
    """Print the cost of the signature over bytes relative to decoding plus the one over pixels."""
    decode = tf.function(
        lambda data: decode_batch(data, exported.decode),
        input_signature=[tf.TensorSpec([None], tf.string)],
        autograph=False,
    )
    pixels = exported._loaded.signatures["images"]
    batch = images[:BATCH]

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


def arithmetic(exported: ExportedModel, images: list[bytes], rounds: int) -> None:
    """Print the speed of bfloat16 and XLA, and whether they would pass the acceptance gate."""
    pixels = exported._loaded.signatures["images"]
    batches = [
        decode_batch(tf.constant(images[at : at + BATCH], tf.string), exported.decode)[0]
        for at in range(0, len(images) - BATCH + 1, BATCH)
    ]
    for name, switch in SWITCHES.items():
        seconds: dict[bool, list[float]] = {False: [], True: []}
        probabilities = {}
        for on in (False, True):
            switch(on)
            parts = [pixels(images=one)["probabilities"].numpy() for one in batches]
            probabilities[on] = np.concatenate(parts)
        for one in batches * rounds:
            for on, times in seconds.items():
                switch(on)
                times.append(clock(lambda one=one: pixels(images=one)))
        switch(False)
        largest = float(np.abs(probabilities[True] - probabilities[False]).max())
        verdict = "passes" if largest <= PARITY else "fails"
        row(
            f"float32 against {name} (batches of {BATCH}, n = {len(batches) * rounds} pairs); it "
            f"{verdict} the gate: a probability differs by {largest:.1g}",
            f"{1e3 * median(seconds[False]):.0f} against {1e3 * median(seconds[True]):.0f} ms",
            f"{median(a / b for a, b in zip(*seconds.values(), strict=True)):.2f}",
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", type=Path)
    parser.add_argument("images_folder", type=Path)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--clients", type=int, default=16)
    parser.add_argument("--images", type=int, default=96)
    parser.add_argument("--serve", default="", help="options of tltool serve, in one string")
    args = parser.parse_args()
    items = list_images(args.images_folder).items[: args.images]
    images = [item.path.read_bytes() for item in items]
    exported = load_exported(args.model)
    exported.predict(images[:BATCH])
    exported.predict(images[:1])
    print(f"Load of the machine at the start: {os.getloadavg()[0]:.2f}\n")
    print("| what | measured | ratio |\n|---|---|---|")
    throughput(exported, images, args)
    processes(images, args)
    signatures(exported, images, args.rounds)
    arithmetic(exported, images, args.rounds)


if __name__ == "__main__":
    main()
