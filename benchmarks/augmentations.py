"""What each change of a photo costs, beside the network that waits for it, in one run.

python benchmarks/augmentations.py [--photos 64] [--rounds 3]

Reads hymenoptera from TLTOOL_TEST_DATA. Prints Markdown: milliseconds of processor time per photo
of 224 pixels, photos per second, and the processor time as a share of a forward pass of VGG16 and
of ResNet-18 in the arithmetic of the machine; a training step takes longer than that. Medians.
"""

import argparse
import os
import statistics
import time
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import numpy as np
import tensorflow as tf

from tltool.augment.policy import Augmenter
from tltool.augment.spec import AugmentSpec
from tltool.data.decode import DecodeSpec
from tltool.data.pipeline import fixed_options
from tltool.data.sources.folder import read_folder
from tltool.features.views import PhotoSource
from tltool.models.backbones import get_backbone
from tltool.models.build import build_model
from tltool.models.network import Network
from tltool.recipe.augment import AugmentSection
from tltool.recipe.policies import POLICIES
from tltool.training.measure import Pooling
from tltool.training.precision import choose_precision
from tltool.workflows.augmentation import augment_spec, one_by_one

SIDE, BATCH = 224, 32
NETWORKS = ("vgg16", "resnet18")


def read(count: int) -> tuple[np.ndarray, np.ndarray]:
    items = read_folder(Path(os.environ["TLTOOL_TEST_DATA"]) / "hymenoptera").items[:count]
    labels = np.arange(len(items)) % 2
    source = PhotoSource(items, labels, 2, DecodeSpec(SIDE, SIDE, "crop"), BATCH)
    batches = list(source.plain().as_numpy_iterator())
    return np.concatenate([b[1] for b in batches]), np.concatenate([b[2] for b in batches])


def both_clocks(work) -> tuple[float, float]:
    """Return seconds of processor and wall."""
    wall, cpu = time.perf_counter(), time.process_time()
    work()
    return time.process_time() - cpu, time.perf_counter() - wall


def forward_seconds(name: str, images: np.ndarray, rounds: int) -> float:
    backbone = get_backbone(name)
    settings = {"dropout": 0.0, "hidden_units": 1, "norm": "none", "weights": None, "seed": 0}
    model = build_model(backbone, image_size=(SIDE, SIDE), classes=2, head="gap", **settings)
    precision = choose_precision("auto", gpu=False)
    run = Pooling(Network(model, backbone, "gap").images_to_pooled, precision)
    batch = tf.constant(images[:BATCH])
    run(batch)
    spent = [both_clocks(lambda: run(batch))[0] for _ in range(rounds)]
    return statistics.median(spent) / len(batch)


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
    given = parser.parse_args()
    images, labels = read(given.photos)
    count = len(images)
    photos = tf.data.Dataset.from_tensor_slices((np.arange(count), images, labels)).cache()
    none = change_seconds(AugmentSpec(), photos, count, given.rounds)
    forward = {name: forward_seconds(name, images, given.rounds) for name in NETWORKS}
    policies = {
        f"policy {name}": augment_spec(AugmentSection(policy=name))
        for name in POLICIES
        if name != "none"
    }
    print("| change | ms a photo, CPU | photos/s | of VGG16's forward pass | of ResNet-18's |")
    print("|---|---|---|---|---|")
    for name, spec in {**one_by_one(AugmentSection(policy="none"), every=True), **policies}.items():
        cpu, wall = change_seconds(spec, photos, count, given.rounds)
        own = max(0.0, cpu - none[0])
        shares = " | ".join(f"{own / seconds:.1%}" for seconds in forward.values())
        print(f"| {name} | {1000 * own:.1f} | {1 / wall:.0f} | {shares} |", flush=True)


if __name__ == "__main__":
    main()
