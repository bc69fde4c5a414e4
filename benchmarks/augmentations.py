"""What each change of an image costs, beside the training step that waits for it, in one run.

python -m benchmarks.augmentations [--photos 64] [--rounds 3] [--only flip,crop]

Reads hymenoptera from TLTOOL_TEST_DATA. Prints Markdown: milliseconds of processor time per image
of 224 pixels, images per second, and the processor time as a share of a live training step that
trains the last stage, in the arithmetic of the machine. Medians.
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
    """Return seconds of processor and wall."""
    wall, cpu = time.perf_counter(), time.process_time()
    work()
    return time.process_time() - cpu, time.perf_counter() - wall


def step_seconds(name: str, images: np.ndarray, labels: np.ndarray, rounds: int) -> float:
    """Return seconds of processor per image of a step that trains the last stage."""
    net, precision = network(name), choose_precision("auto", gpu=False)
    one = trainer(net, net.model, precision, stage=net.backbone.stages[-1].name, steps=1)
    step = TrainingStep(one.network, one.groups, one.plan, one.strategy, loss_scale=False)
    batch = tf.constant(images[:BATCH]), tf.constant(labels[:BATCH])
    with precision.active():
        step(*batch)
        spent = [both_clocks(lambda: step(*batch).numpy())[0] for _ in range(rounds)]
    return statistics.median(spent) / len(batch[0])


def change_seconds(spec: AugmentSpec, photos: tf.data.Dataset, count: int, rounds: int):
    batches = Augmenter(spec, (SIDE, SIDE)).batches(
        photos, key=tf.constant([0, 1]), batch_size=BATCH
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
    parser.add_argument("--photos", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", default="", help="changes, by comma; all of them without it")
    given = parser.parse_args()
    images, labels = read(given.photos)
    count = len(images)
    photos = tf.data.Dataset.from_tensor_slices((np.arange(count), images, labels)).cache()
    none = change_seconds(AugmentSpec(), photos, count, given.rounds)
    steps = {name: step_seconds(name, images, labels, given.rounds) for name in NETWORKS}
    told = (f"{NETWORKS[name]} {1000 * seconds:.0f} ms" for name, seconds in steps.items())
    print(f"A training step, processor time per image: {', '.join(told)}\n")
    policies = {
        f"policy {name}": augment_spec(AugmentSection(policy=name))
        for name in POLICIES
        if name != "none"
    }
    every = {**single_transforms(AugmentSection(policy="none"), every=True), **policies}
    wanted = given.only.split(",") if given.only else list(every)
    titles = [f"of {title}'s step" for title in NETWORKS.values()]
    print(f"| change | ms an image, CPU | photos/s | {' | '.join(titles)} |")
    print("|---|---|---|---|---|---|")
    for name in wanted:
        cpu, wall = change_seconds(every[name], photos, count, given.rounds)
        own = max(0.0, cpu - none[0])
        shares = " | ".join(f"{own / seconds:.1%}" for seconds in steps.values())
        print(f"| {name} | {1000 * own:.1f} | {1 / wall:.0f} | {shares} |", flush=True)


if __name__ == "__main__":
    main()
