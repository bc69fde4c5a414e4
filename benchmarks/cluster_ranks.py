"""Steps of training by one process or by two that train together, each on a core of its own.

python -m benchmarks.cluster_ranks SIDE BATCH,... SIZE,...

Prints a JSON document: seconds of a step of VGG16 from block5 on for each batch, and of a sum over
the processes for each size in bytes. `measure` starts the processes.
"""

import json
import os
import socket
import subprocess
import sys
import time
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

_STEPS = 3  # after the first one, which is traced


@dataclass(frozen=True)
class Ranks:
    """What the processes measured.

    Attributes:
        steps: seconds by batch.
        sums: seconds by size in bytes.
        gradient: bytes of the gradients of a step.
    """

    steps: dict[int, float]
    sums: dict[int, float]
    gradient: float


def measure(
    ranks: int, *, side: int, batches: tuple[int, ...], sizes: tuple[int, ...] = ()
) -> Ranks:
    """Let ``ranks`` processes train together, and return what the first one measured."""
    with ExitStack() as stack:
        ports = [stack.enter_context(socket.socket()) for _ in range(ranks)]
        for port in ports:
            port.bind(("localhost", 0))
        addresses = [f"localhost:{port.getsockname()[1]}" for port in ports]
    texts = [",".join(map(str, one)) for one in (batches, sizes)]
    command = [sys.executable, "-m", "benchmarks.cluster_ranks", str(side), *texts]
    processes = []
    for rank in range(ranks):
        task = {"cluster": {"worker": addresses}, "task": {"type": "worker", "index": rank}}
        environment = {
            **os.environ, "TF_CONFIG": json.dumps(task), "RANK": str(rank),
            "TF_NUM_INTRAOP_THREADS": "1",
        }  # fmt: skip
        processes.append(
            subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)
        )
    printed = [process.communicate()[0] for process in processes]
    if any(process.returncode for process in processes):
        raise SystemExit("the processes that train together failed")
    found = json.loads(printed[0].splitlines()[-1])
    steps, sums = ({int(n): s for n, s in found[name].items()} for name in ("steps", "sums"))
    return Ranks(steps, sums, found["gradient"])


def main(side: int, batches: list[int], sizes: list[int]) -> None:
    """Measure as one of the processes."""
    cores = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {cores[int(os.environ["RANK"]) % len(cores)]})
    import numpy as np
    import tensorflow as tf

    from benchmarks.cluster_runs import STAGE
    from benchmarks.pieces import network
    from tltool.recipe.load import load_recipe
    from tltool.runs.peers import read_peers
    from tltool.training.agreement import from_first
    from tltool.training.batch_parts import device_parts
    from tltool.training.devices import choose_devices
    from tltool.training.optimizers import Group
    from tltool.training.training_step import TrainingStep
    from tltool.workflows.training_run.phase_plans import phase_plan

    peers = read_peers()
    strategy, _ = choose_devices("cpu", peers)
    with strategy.scope():
        net = network("vgg16", side=side)
    variables = [variable for group in net.trained_from(STAGE) for variable in group]
    plan = phase_plan(
        load_recipe("vgg16"), "finetune", epochs=1, learning_rate=1e-5, steps=1, class_weights=None
    )
    step = TrainingStep(net.model, [Group(variables)], plan, strategy, loss_scale=False)
    rng, steps, sums = np.random.default_rng(0), dict[int, float](), dict[int, float]()

    def clock(work: Any) -> float:
        work()
        started = time.perf_counter()
        for _ in range(_STEPS):
            work()
        return (time.perf_counter() - started) / _STEPS

    for batch in batches:
        parts = device_parts(batch, largest=None, devices=strategy.num_replicas_in_sync)[0]
        own = parts[peers.rank if peers else 0]
        images = tf.constant(rng.uniform(0, 255, (batch, side, side, 3)).astype(np.float32)[own])
        labels = tf.one_hot(tf.range(batch)[own] % 2, 2)
        steps[batch] = clock(lambda x=images, y=labels, n=batch: step(x, y, n).numpy())
    for size in sizes:
        values = np.zeros(size // 4, np.float32)
        sums[size] = clock(lambda v=values: from_first(strategy, v))
    gradient = 4 * sum(int(np.prod(variable.shape)) for variable in variables)
    print(json.dumps({"steps": steps, "sums": sums, "gradient": gradient}))


if __name__ == "__main__":
    numbers = [[int(one) for one in text.split(",") if one] for text in sys.argv[2:4]]
    main(int(sys.argv[1]), *numbers)
