"""What `cluster.py` prints: measured times, and the model where it holds."""

import statistics
from collections.abc import Callable, Sequence
from typing import Any

from benchmarks.cluster_model import Job, Step, Store, fitted_step, predicted
from benchmarks.cluster_ranks import Ranks
from benchmarks.cluster_runs import Run

WITHIN = 0.10  # of a measured time, for the model to be used
MACHINES = (1, 2, 8, 64)
ASSUMED = Store(worker_rate=100e6, total_rate=10e9)
LINKS = {"25 Gbit/s": 25e9 / 8, "100 Gbit/s": 100e9 / 8}  # bytes a second
LINK_LATENCY = 50e-6
LARGE_BATCH = 256  # images of a step


def spread(values: Sequence[float], form: str = "{:.2f}") -> str:
    """Return the median and the range."""
    middle, low, high = statistics.median(values), min(values), max(values)
    texts = [form.format(one) for one in (middle, low, high)]
    return f"{texts[0]} ({texts[1]} to {texts[2]})" if len(values) > 1 else texts[0]


def new_start(run: Run) -> float:
    """Return the seconds from the kill of a worker to the first piece of its replacement."""
    lost = run.facts["lost_at"]
    first = {}
    for one in sorted(run.pieces, key=lambda one: one["started"]):
        first.setdefault(one["pid"], one["started"])
    return min((started - lost for started in first.values() if started > lost), default=0.0)


def print_measured(rounds: Sequence[dict[str, Run]], shards: int) -> None:
    shard = statistics.median(s for one in rounds for s in one["none"].shards)

    def row(what: str, of: Callable[[dict[str, Run]], float], aim: str, form: str) -> None:
        print(f"| {what} | {spread([of(one) for one in rounds], form)} | {aim} |")

    seconds, ratio = "{:.1f} s", "{:.3f}"
    print("\n| what | median (range) | aim |\n|---|---|---|")
    row("without Ray", lambda r: r["none"].wall, "", seconds)
    row("one worker", lambda r: r["one"].wall, "", seconds)
    row("one worker : without Ray", lambda r: r["one"].wall / r["none"].wall, "≤ 1.02", ratio)
    row("the same, processor time of a shard", lambda r: r["one"].cpu / r["none"].cpu, "", ratio)
    row("two workers", lambda r: r["two"].wall, "", seconds)
    row("speed-up of two workers", lambda r: r["none"].wall / r["two"].wall, "≥ 1.85", ratio)
    row(
        "processor time of a shard, two workers : none", lambda r: r["two"].cpu / r["none"].cpu,
        "", ratio,
    )  # fmt: skip
    row("start of Ray", lambda r: r["two"].facts["engine_seconds"], "", seconds)
    row("until two workers are ready", lambda r: r["two"].facts["ready_seconds"], "", seconds)
    row("memory of Ray at rest, MiB", lambda r: r["two"].facts["rest_mib"], "", "{:.0f}")
    row("a worker killed: longer by", lambda r: r["killed"].wall - r["two"].wall, "", seconds)
    row("start of the new worker", lambda r: new_start(r["killed"]), "", seconds)
    row(
        "longer by : a shard and a start",
        lambda r: (r["killed"].wall - r["two"].wall) / (shard + new_start(r["killed"])),
        "≤ 1", ratio,
    )  # fmt: skip
    row("shards started twice, worker killed", lambda r: repeated(r["killed"]), "≤ 1", "{:.0f}")
    row("shards ended before the driver was killed", lambda r: ended(r["stopped"]), "", "{:.0f}")
    row("shards started twice, driver killed", lambda r: repeated(r["resumed"]), "≤ 2", "{:.0f}")
    row("shards made twice, all runs", lambda r: sum(map(made_twice, r.values())), "0", "{:.0f}")
    print(f"\nA shard: {shard:.1f} s; {shards} shards.")


def repeated(run: Run) -> int:
    """Return how many pieces were started more than once."""
    return len(run.started) - len({number for number, _ in run.started})


def ended(run: Run) -> int:
    return len(run.pieces)


def made_twice(run: Run) -> int:
    made = [one["number"] for one in run.pieces if one["made"]]
    return len(made) - len(set(made))


def check_digests(rounds: Sequence[dict[str, Run]]) -> None:
    digests = {
        run.facts["digest"] for one in rounds for run in one.values() if "digest" in run.facts
    }
    count = sum("digest" in run.facts for one in rounds for run in one.values())
    if len(digests) != 1:
        raise SystemExit(f"the features differ: {len(digests)} digests of {count} runs")
    print(f"Digest of all features of each of the {count} runs: {digests.pop()}.")


def print_model(rounds: Sequence[dict[str, Run]], setup: dict[str, Any]) -> None:
    """Check the model and, if it holds, print what it says about many machines."""
    alone = [s for one in rounds for s in one["none"].shards]
    gap = statistics.median(g for one in rounds for g in one["one"].gaps())
    holds = True
    print("\n| workers | foretold | measured | difference |\n|---|---|---|---|")
    for workers, name in ((1, "one"), (2, "two")):
        measured = statistics.median(one[name].wall for one in rounds)
        guess = predicted(alone, setup["shards"], workers, gap=gap)
        holds = holds and abs(guess / measured - 1) <= WITHIN
        print(f"| {workers} | {guess:.1f} s | {measured:.1f} s | {guess / measured - 1:+.1%} |")
    beside = statistics.median(s for one in rounds for s in one["two"].shards)
    print(
        f"\nForetold from shards of the process without Ray and {1000 * gap:.0f} ms between two "
        f"shards. A shard takes {beside / statistics.median(alone):.2f} times as long beside "
        f"another one."
    )
    if not holds:
        print("\nThe model is not within 10 %: its table is left out.")
        return
    start = statistics.median(one["two"].facts["ready_seconds"] for one in rounds)
    per_image = [one / setup["images"] for one in alone]
    print_machines(per_image, setup, gap, start)


def print_machines(
    per_image: Sequence[float], setup: dict[str, Any], gap: float, start: float
) -> None:
    side = setup["side"] // 16
    jobs = {
        "features of 10,000,000 images": (10_000_000, 2048.0),
        "the same with activations before block5": (10_000_000, 2048.0 + side * side * 512 * 2),
        "features of 100,000 images": (100_000, 2048.0),
    }
    columns = " | ".join(f"{count} machine{'s' * (count > 1)}" for count in MACHINES)
    print(f"\n| one core a machine | {columns} |\n|---|{'---|' * len(MACHINES)}")
    for name, (images, out) in jobs.items():
        job = Job(images, 256, setup["bytes_in"], out)
        hours = [
            job.seconds(per_image, count, ASSUMED, gap=gap, start=start) / 3600
            for count in MACHINES
        ]
        cells = " | ".join(f"{one:.2f} h (× {hours[0] / one:.1f})" for one in hours)
        print(f"| {name} | {cells} |")
    print(
        f"\nShards of 256 images of {setup['bytes_in'] / 1000:.0f} KB; a start of {start:.0f} s. "
        f"Assumed, not measured: a store of {ASSUMED.worker_rate / 1e6:.0f} MB/s a machine and "
        f"{ASSUMED.total_rate / 1e9:.0f} GB/s in all."
    )


def print_training(one: Ranks, two: Ranks) -> None:
    """Check the model of a training step and, if it holds, print what it says of many machines.

    Args:
        one: what one process measured, with several batches.
        two: what two measured, with one batch and several sums.
    """
    batches = sorted(one.steps)
    step = fitted_step(batches, [one.steps[batch] for batch in batches], one.gradient)
    latency, bandwidth = measured_link(two)
    print("\n| processes | images of a step | foretold | measured | difference |")
    print("|---|---|---|---|---|")
    holds = True
    for count, measured in ((1, one.steps), (2, two.steps)):
        for batch, seconds in sorted(measured.items()):
            guess = step.seconds(count, batch, latency=latency, bandwidth=bandwidth)
            holds = holds and abs(guess / seconds - 1) <= WITHIN
            change = f"{guess / seconds - 1:+.1%}"
            print(f"| {count} | {batch} | {guess:.2f} s | {seconds:.2f} s | {change} |")
    print(
        f"\nGradients of {one.gradient / 1e6:.0f} MB; between two processes of this machine "
        f"{1000 * latency:.1f} ms a message and {bandwidth / 1e6:.0f} MB/s."
    )
    if not holds:
        print("\nThe model of a step is not within 10 %: its table is left out.")
        return
    print_steps(step)


def measured_link(two: Ranks) -> tuple[float, float]:
    """Return latency and bandwidth between two processes, from the times of their sums."""
    small, large = min(two.sums), max(two.sums)
    latency = two.sums[small] / 2
    return latency, large / max(1e-9, two.sums[large] - two.sums[small])


def print_steps(step: Step) -> None:
    columns = " | ".join(f"{count} machines" for count in MACHINES[1:])
    print(f"\n| {LARGE_BATCH} images a step | {columns} |\n|---|{'---|' * (len(MACHINES) - 1)}")
    for name, bandwidth in LINKS.items():
        alone, *others = (
            step.seconds(count, LARGE_BATCH, latency=LINK_LATENCY, bandwidth=bandwidth)
            for count in MACHINES
        )
        cells = " | ".join(f"{one:.2f} s (× {alone / one:.1f})" for one in others)
        print(f"| {name} | {cells} |")
    print("\nThe networks are assumed, with 50 µs a message; one core a machine.")
