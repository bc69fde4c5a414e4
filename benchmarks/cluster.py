"""Features by workers of Ray: overhead, speed-up, losses, and a model of up to 64 machines.

python -m benchmarks.cluster [--shards 40] [--images 32] [--repetitions 5]
    [--side 224] [--arithmetic float32] [--parts features,training]

VGG16 with random weights (seed 0) and the photos of hymenoptera in TLTOOL_TEST_DATA, repeated as
often as needed; generated ones without that folder. Every worker computes with one thread on one
core, so that two workers on two cores are comparable with one. A repetition has five runs, each in
processes of its own: without Ray, one worker, two workers, two of which one is killed in mid-shard,
and two whose driver is killed, with the run that goes on. Times begin when all workers are ready.
If any digest differs the program ends with exit code 1. The table of the model is printed only if
it foretells the measured times of one and of two workers within 10 %; the same holds for a training
step of one and of two processes (part `training`). Needs a quiet machine.
"""

import argparse
import json
import os
import tempfile
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

from benchmarks.cluster_ranks import measure
from benchmarks.cluster_runs import prepared, repetition
from benchmarks.cluster_tables import check_digests, print_measured, print_model, print_training

SIZES = (4096, 2**20, 10 * 2**20, 28 * 2**20)  # bytes, of sums over two processes


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shards", type=int, default=40, help="of a run, at most 127")
    parser.add_argument("--images", type=int, default=32, help="of a shard")
    parser.add_argument("--repetitions", type=int, default=5)
    parser.add_argument("--side", type=int, default=224)
    parser.add_argument("--arithmetic", choices=("float32", "bfloat16"), default="float32")
    parser.add_argument("--parts", default="features,training")
    options = parser.parse_args()
    if not 4 <= options.shards < 128:
        raise SystemExit("--shards must be from 4 to 127")
    parts = options.parts.split(",")
    if "features" in parts:
        features(options)
    if "training" in parts:
        one = measure(1, side=options.side, batches=(8, 16, 32))
        print_training(one, measure(2, side=options.side, batches=(32,), sizes=SIZES))


def features(options: argparse.Namespace) -> None:
    """Measure and print the extraction of features."""
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
