"""Processor time of each augmentation, compared with that of a training step, in one run.

python -m benchmarks.augmentations [--images 64] [--rounds 3] [--only flip,crop] [--in-batches]

Reads hymenoptera from TLTOOL_TEST_DATA. Prints Markdown: milliseconds of processor time per image
of 224 pixels, images per second, and the processor time relative to a training step without cache
that trains the last stage, in the arithmetic of the machine. Medians. With --in-batches, instead:
the policies by the code that a GPU runs, on this processor.
"""

import argparse
import os
import statistics
import time
from collections.abc import Mapping

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import numpy as np
import tensorflow as tf

from benchmarks.pieces import SIDE, hymenoptera, network, trainer
from tltool.augment.augmenter import Augmenter
from tltool.augment.spec import AugmentSpec
from tltool.data.pipeline import fixed_options
from tltool.recipe.augment_section import AugmentSection
from tltool.recipe.augmentation_policies import POLICIES
from tltool.training.precision import choose_precision
from tltool.training.training_step import TrainingStep
from tltool.workflows.resolve.augmentation import augment_spec, single_transforms

BATCH = 32
NETWORKS = {"vgg16": "VGG16", "resnet50": "ResNet-50", "resnet18": "ResNet-18"}


def read(count: int) -> tuple[np.ndarray, np.ndarray]:
    batches = list(hymenoptera(count, batch_size=BATCH).original())
    return np.concatenate([b[1] for b in batches]), np.concatenate([b[2] for b in batches])


def both_clocks(work) -> tuple[float, float]:
    """Return CPU and wall seconds."""
    wall, cpu = time.perf_counter(), time.process_time()
    work()
    return time.process_time() - cpu, time.perf_counter() - wall


def step_seconds(name: str, images: np.ndarray, labels: np.ndarray, rounds: int) -> float:
    """Return CPU seconds per image of a step that trains the last stage."""
    net, precision = network(name), choose_precision("auto", gpu=False)
    one = trainer(net, net.model, precision, stage=net.backbone.stages[-1].name, steps=1)
    step = TrainingStep(one.network, one.groups, one.plan, one.strategy, loss_scale=False)
    batch = tf.constant(images[:BATCH]), tf.constant(labels[:BATCH])
    with precision.active():
        step(*batch)
        spent = [both_clocks(lambda: step(*batch).numpy())[0] for _ in range(rounds)]
    return statistics.median(spent) / len(batch[0])


def transform_seconds(
    spec: AugmentSpec,
    examples: tf.data.Dataset,
    count: int,
    rounds: int,
    *,
    in_batches: bool = False,
) -> tuple[float, float]:
    """Return CPU and wall seconds per image; with ``in_batches`` by the code for a GPU."""
    augmenter = Augmenter(spec, (SIDE, SIDE))
    read = augmenter.drawn_batches if in_batches else augmenter.batches
    batches = read(examples, key=tf.constant([0, 1]), batch_size=BATCH)
    batches = batches.with_options(fixed_options())

    def whole() -> None:
        for batch in batches:
            if in_batches:
                augmenter.transform(batch)

    whole()
    spent = [both_clocks(whole) for _ in range(rounds)]
    cpu, wall = (statistics.median(column) / count for column in zip(*spent, strict=True))
    return cpu, wall


def compare_batches(
    specs: Mapping[str, AugmentSpec],
    examples: tf.data.Dataset,
    count: int,
    rounds: int,
    *,
    none: float,
) -> None:
    """Print the cost on this processor by tf.data and by the code that computes on a GPU."""
    print(
        "| augmentation | ms per image, CPU, in tf.data | in batches | ratio |\n|---|---|---|---|"
    )
    for name, spec in specs.items():
        one, many = (
            transform_seconds(spec, examples, count, rounds, in_batches=in_batches)[0] - none
            for in_batches in (False, True)
        )
        print(f"| {name} | {1000 * one:.1f} | {1000 * many:.1f} | {many / one:.1f} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument(
        "--only", default="", help="augmentations, separated by commas; by default all"
    )
    parser.add_argument(
        "--in-batches", action="store_true", help="compare tf.data with the code for a GPU"
    )
    args = parser.parse_args()
    images, labels = read(args.images)
    count = len(images)
    examples = tf.data.Dataset.from_tensor_slices((np.arange(count), images, labels)).cache()
    none = transform_seconds(AugmentSpec(), examples, count, args.rounds)
    policies = {
        f"policy {name}": augment_spec(AugmentSection(policy=name))
        for name in POLICIES
        if name != "none"
    }
    if args.in_batches:
        compare_batches(policies, examples, count, args.rounds, none=none[0])
        return
    steps = {name: step_seconds(name, images, labels, args.rounds) for name in NETWORKS}
    steps_text = (f"{NETWORKS[name]} {1000 * seconds:.0f} ms" for name, seconds in steps.items())
    print(f"A training step, processor time per image: {', '.join(steps_text)}\n")
    every = {**single_transforms(AugmentSection(policy="none"), every=True), **policies}
    selected = args.only.split(",") if args.only else list(every)
    titles = [f"of {title}'s step" for title in NETWORKS.values()]
    print(f"| augmentation | ms per image, CPU | images/s | {' | '.join(titles)} |")
    print("|---|---|---|---|---|---|")
    for name in selected:
        cpu, wall = transform_seconds(every[name], examples, count, args.rounds)
        own = max(0.0, cpu - none[0])
        shares = " | ".join(f"{own / seconds:.1%}" for seconds in steps.values())
        print(f"| {name} | {1000 * own:.1f} | {1 / wall:.0f} | {shares} |", flush=True)


if __name__ == "__main__":
    main()
