"""Processor time of each augmentation, compared with that of a training step, in one run.

python -m benchmarks.augmentations [--images 64] [--rounds 3] [--only flip,crop]

Reads hymenoptera from TLTOOL_TEST_DATA. Prints Markdown: milliseconds of processor time per image
of 224 pixels, images per second, and the processor time relative to a training step without cache
that trains the last stage, in the arithmetic of the machine. Medians.
"""

import argparse
import os
import statistics
import time

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
    batches = list(hymenoptera(count, batch_size=BATCH).original().as_numpy_iterator())
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


def transform_seconds(spec: AugmentSpec, examples: tf.data.Dataset, count: int, rounds: int):
    batches = Augmenter(spec, (SIDE, SIDE)).batches(
        examples, key=tf.constant([0, 1]), batch_size=BATCH
    )
    batches = batches.with_options(fixed_options())

    def whole() -> None:
        for _ in batches:
            pass

    whole()
    spent = [both_clocks(whole) for _ in range(rounds)]
    cpu, wall = (statistics.median(column) / count for column in zip(*spent, strict=True))
    return cpu, wall


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument(
        "--only", default="", help="augmentations, separated by commas; by default all"
    )
    args = parser.parse_args()
    images, labels = read(args.images)
    count = len(images)
    examples = tf.data.Dataset.from_tensor_slices((np.arange(count), images, labels)).cache()
    none = transform_seconds(AugmentSpec(), examples, count, args.rounds)
    steps = {name: step_seconds(name, images, labels, args.rounds) for name in NETWORKS}
    steps_text = (f"{NETWORKS[name]} {1000 * seconds:.0f} ms" for name, seconds in steps.items())
    print(f"A training step, processor time per image: {', '.join(steps_text)}\n")
    policies = {
        f"policy {name}": augment_spec(AugmentSection(policy=name))
        for name in POLICIES
        if name != "none"
    }
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
