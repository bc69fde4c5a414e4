"""What op determinism costs in processor time: training on the images, from the cache, and reading.

python -m benchmarks.determinism [--images 64] [--rounds 3]

Reads hymenoptera from TLTOOL_TEST_DATA. TensorFlow cannot leave determinism again, so each
measurement is a process of its own; with and without take turns. Each process runs VGG16 with
random weights: one pass that decodes, augments and computes features, and the second epoch of
fine-tuning on what it stored. Prints processor seconds (user and system) of each part, medians over
the rounds, and the ratio of each round's pair.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

from tltool.events import SilentObserver

PARTS = ("reading", "extraction", "cached epoch")


def measure(images: int, *, deterministic: bool) -> dict[str, float]:
    """Return processor seconds of each part in this process."""
    import keras
    import tensorflow as tf

    from benchmarks.pieces import hymenoptera, network, schedule, trainer
    from tltool.augment.spec import AugmentSpec
    from tltool.features.extract import Extractor
    from tltool.features.sampler import Sampler
    from tltool.training.cached_phase import finetune_data
    from tltool.training.early_stopping import BestModel
    from tltool.training.precision import choose_precision
    from tltool.training.validation import HeadLogits, Pooling

    keras.utils.set_random_seed(0)
    if deterministic:
        tf.config.experimental.enable_op_determinism()
    augment = AugmentSpec(flip="horizontal", crop=(0.6, 1.25))
    train, net = hymenoptera(images, batch_size=16), network("vgg16")
    precision, cut = choose_precision("auto", gpu=False), net.cut("block5")
    extractor = Extractor(net.images, net.pooled, cut)
    spent = {}

    def read(epoch: int) -> None:
        for _ in train.augmented(augment, seed=0, epoch=epoch):
            pass

    read(1)
    spent["reading"] = clock(lambda: read(2))
    with tempfile.TemporaryDirectory() as folder, precision.active():
        extractor.forward(tf.zeros((16, *net.images.shape[1:])))

        def extract(epoch: int):
            return extractor.run(
                lambda start: train.augmented(augment, seed=0, epoch=epoch, start=start),
                Path(folder) / str(epoch),
                count=len(train),
                classes=2,
                observer=SilentObserver(),
            )

        spent["extraction"] = clock(lambda: extract(3))
        view = extract(3)
        data = finetune_data(
            [view],
            view,
            train.labels,
            to_pooled=Pooling(keras.Model(cut, net.pooled), precision),
            head=HeadLogits(net.pooled_to_logits),
            batch_size=train.batch_size,
            sampler=Sampler(train.labels, seed=0),
            augmentation=schedule(augment),
        )
        part = keras.Model(cut, net.model.output)
        steps = -(-len(train) // train.batch_size)
        one, epochs = trainer(net, part, precision, stage="block5", steps=steps), EpochTimes()
        best = BestModel(one.groups[0].variables, "val_loss")
        one.run(data, best=best, observer=epochs)
        spent["cached epoch"] = epochs.ends[1] - epochs.ends[0]  # the first one also traces
    return spent


class EpochTimes(SilentObserver):
    """Collects the processor time at the end of each epoch."""

    def __init__(self) -> None:
        self.ends: list[float] = []

    def on_epoch(self, epoch: int, epochs: int, metrics: Mapping[str, float]) -> None:
        self.ends.append(time.process_time())


def clock(work) -> float:
    started = time.process_time()
    work()
    return time.process_time() - started


def in_process(images: int, *, deterministic: bool) -> dict[str, float]:
    command = [sys.executable, "-m", "benchmarks.determinism", "--images", str(images), "--measure"]
    result = subprocess.run(
        [*command, "on" if deterministic else "off"], stdout=subprocess.PIPE, text=True, check=True
    )
    spent: dict[str, float] = json.loads(result.stdout.splitlines()[-1])
    return spent


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--measure", choices=("on", "off"), help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.measure:
        print(json.dumps(measure(args.images, deterministic=args.measure == "on")))
        return
    pairs = [
        [in_process(args.images, deterministic=chosen) for chosen in (False, True)]
        for _ in range(args.rounds)
    ]
    print("| part | without, CPU s | with, CPU s | ratio of each round |")
    print("|---|---|---|---|")
    for part in (*PARTS, "all"):
        rows = [
            [sum(one.values()) if part == "all" else one[part] for one in pair] for pair in pairs
        ]
        off, on = (statistics.median(column) for column in zip(*rows, strict=True))
        ratios = ", ".join(f"{late / early:.3f}" for early, late in rows)
        print(f"| {part} | {off:.2f} | {on:.2f} | {ratios} |")


if __name__ == "__main__":
    main()
