"""Features by workers of Ray: overhead, speed-up, losses, and a model of up to 64 machines.

python -m benchmarks.cluster [--shards 40] [--images 32] [--repetitions 5] [--side 224]

VGG16 with random weights (seed 0) and the photos of hymenoptera in TLTOOL_TEST_DATA, repeated as
often as needed; generated ones without that folder. Every worker computes with one thread on one
core, so that two workers on two cores are comparable with one. A repetition has five runs, each in
processes of its own: without Ray, one worker, two workers, two of which one is killed in mid-shard,
and two whose driver is killed, with the run that goes on. Times begin when all workers are ready.
If any digest differs the program ends with exit code 1. The table of the model is printed only if
it foretells the measured times of one and of two workers within 10 %. Needs a quiet machine.
"""

import argparse
import json
import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

from benchmarks.cluster_model import Job, Store, predicted
from benchmarks.cluster_pieces import LOG

ATTEMPTS = 3
WITHIN = 0.10  # of a measured time, for the model to be used
STAGE = "block5"
MACHINES = (1, 2, 8, 64)
ASSUMED = Store(worker_rate=100e6, total_rate=10e9)


@dataclass
class Run:
    """What a run printed and logged.

    Attributes:
        facts: as `cluster_job` prints them.
        started: number and time of each piece that a process began.
        pieces: of each that ended: number, process, begin, end, processor seconds, whether it made
            the file.
    """

    facts: dict[str, Any]
    started: list[tuple[int, float]] = field(default_factory=list)
    pieces: list[dict[str, Any]] = field(default_factory=list)

    @property
    def wall(self) -> float:
        return float(self.facts["seconds"])

    @property
    def shards(self) -> list[float]:
        """Seconds of each piece."""
        return [one["ended"] - one["started"] for one in self.pieces]

    @property
    def cpu(self) -> float:
        return statistics.median(one["cpu"] for one in self.pieces)

    def gaps(self) -> list[float]:
        """Return the seconds between two pieces of one worker."""
        gaps = []
        for pid in {one["pid"] for one in self.pieces}:
            own = sorted((p for p in self.pieces if p["pid"] == pid), key=lambda p: p["started"])
            gaps += [later["started"] - sooner["ended"] for sooner, later in pairwise(own)]
        return gaps


def read_log(folder: Path) -> Run:
    """Return the pieces that the log of a run has."""
    run, started = Run({}), {}
    for line in (folder / LOG).read_text().splitlines():
        entry = json.loads(line)
        key = entry["number"], entry["pid"]
        if "started" in entry:
            started[key] = entry["started"]
            run.started.append((entry["number"], entry["started"]))
        else:
            run.pieces.append({**entry, "started": started[key]})
    return run


def do_job(setup: Path, folder: Path, workers: str, ending: str = "whole") -> Run:
    """Run a job in a process of its own; on a busy machine Ray may need several attempts."""
    command = [sys.executable, "-m", "benchmarks.cluster_job", setup, folder, workers, ending]
    expected = -signal.SIGKILL if ending == "lose-driver" else 0
    log = folder / LOG
    before = log.stat().st_size if log.exists() else 0
    for _ in range(ATTEMPTS):
        done = subprocess.run([*map(str, command)], stdout=subprocess.PIPE, text=True, check=False)
        if done.returncode == expected:
            run = read_log(folder)
            run.facts = json.loads(done.stdout.splitlines()[-1]) if not expected else {}
            return run
        if log.exists() and log.stat().st_size != before:
            break  # it failed later than at its start
    raise SystemExit(f"the run with workers {workers} ended with {done.returncode}")


def prepared(folder: Path, options: argparse.Namespace) -> Path:
    """Write the network and what all jobs share; return the file."""
    from benchmarks.pieces import network
    from tltool.features.extract import Extractor

    net = network("vgg16", side=options.side)
    saved = Extractor(net.images, net.pooled, net.cut(STAGE)).save(folder)
    paths = [str(path) for path in photos(folder, options)]
    size = statistics.mean(Path(path).stat().st_size for path in paths)
    setup = {
        "network": str(saved), "paths": paths, "side": options.side, "images": options.images,
        "shards": options.shards, "arithmetic": options.arithmetic, "shard_seconds": 1.0,
        "bytes_in": size,
    }  # fmt: skip
    file = folder / "setup.json"
    file.write_text(json.dumps(setup))
    return file


def photos(folder: Path, options: argparse.Namespace) -> Sequence[Path]:
    data = Path(os.environ.get("TLTOOL_TEST_DATA", ""), "hymenoptera", "train")
    if data.is_dir():
        return sorted(data.rglob("*.jpg"))
    import numpy as np
    from PIL import Image

    rng, made = np.random.default_rng(0), []
    for number in range(64):
        small = rng.integers(0, 256, (24, 32, 3), dtype=np.uint8)
        made.append(folder / f"{number}.jpg")
        Image.fromarray(small).resize((500, 375)).save(made[-1], quality=90)
    return made


def repetition(setup: Path, folder: Path) -> dict[str, Run]:
    """Return the runs of one repetition by name."""
    runs = {"none": do_job(setup, folder / "none", "none")}
    document = json.loads(setup.read_text())
    document["shard_seconds"] = statistics.median(runs["none"].shards)
    setup.write_text(json.dumps(document))
    runs["one"] = do_job(setup, folder / "one", "1")
    runs["two"] = do_job(setup, folder / "two", "2")
    runs["killed"] = do_job(setup, folder / "killed", "2", "lose-worker")
    runs["stopped"] = do_job(setup, folder / "resumed", "2", "lose-driver")
    runs["resumed"] = do_job(setup, folder / "resumed", "2")
    shutil.rmtree(folder)
    return runs


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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shards", type=int, default=40, help="of a run, at most 127")
    parser.add_argument("--images", type=int, default=32, help="of a shard")
    parser.add_argument("--repetitions", type=int, default=5)
    parser.add_argument("--side", type=int, default=224)
    parser.add_argument("--arithmetic", choices=("float32", "bfloat16"), default="float32")
    options = parser.parse_args()
    if not 4 <= options.shards < 128:
        raise SystemExit("--shards must be from 4 to 127")
    with tempfile.TemporaryDirectory() as folder:
        setup = prepared(Path(folder), options)
        rounds = []
        for number in range(options.repetitions):
            rounds.append(repetition(setup, Path(folder) / str(number)))
            walls = {n: round(run.wall, 1) for n, run in rounds[-1].items() if run.facts}
            print(f"repetition {number + 1}: {walls}, load {os.getloadavg()[0]:.1f}", flush=True)
        check_digests(rounds)
        print_measured(rounds, options.shards)
        print_model(rounds, json.loads(setup.read_text()))


if __name__ == "__main__":
    main()
