"""What the checks of gpu_check.py share: sizes, images, networks, steps and rates."""

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from PIL import Image

from benchmarks.pieces import network, trainer
from tltool.data.decoding.decode_spec import DecodeSpec
from tltool.data.sources.folders.folder import read_folder
from tltool.features.image_source import ImageSource
from tltool.models.network_parts import Network
from tltool.training.precision import FLOAT32, Precision
from tltool.training.training_step import TrainingStep

# on a GPU a precision is the dtype policy of the network
PRECISIONS = {
    "float32": FLOAT32,
    "bfloat16": Precision("bfloat16", "mixed_bfloat16", rewrite=False),
    "float16": Precision("float16", "mixed_float16", rewrite=False),
}
CLASSES = ("ants", "bees")


@dataclass(frozen=True)
class Scale:
    """Sizes of all checks.

    Attributes:
        networks: titles by name of the backbone.
        side: of the images, pixels.
        batch: images per batch.
        steps: per measurement.
        images: files of the checks that read files.
        rounds: measurements of each rate.
    """

    networks: Mapping[str, str]
    side: int
    batch: int
    steps: int
    images: int
    rounds: int


FULL = Scale({"vgg16": "VGG16", "resnet50": "ResNet-50"}, 224, 128, 16, 1024, 3)
SMALL = Scale({"tiny_vgg": "tiny VGG", "tiny_resnet": "tiny ResNet"}, 32, 4, 2, 16, 2)


@dataclass(frozen=True)
class Setup:
    """A scale on a device.

    Attributes:
        scale: all sizes.
        gpu: whether TensorFlow uses a GPU.
        folder: of the image files.
    """

    scale: Scale
    gpu: bool
    folder: Path

    @property
    def device(self) -> str:
        """Name of the device for ``tltool --device``."""
        return "gpu" if self.gpu else "cpu"

    @cached_property
    def batch(self) -> tuple[tf.Tensor, tf.Tensor]:
        """A batch in memory: images float32 [B, H, W, 3] and labels float32 [B, 2]."""
        rng = np.random.default_rng(1)  # never zeros: they are computed faster than real data
        side, rows = self.scale.side, self.scale.batch
        images = rng.uniform(0, 255, (rows, side, side, 3)).astype(np.float32)
        labels = np.eye(2, dtype=np.float32)[np.arange(rows) % 2]
        with tf.device("/CPU:0"):
            return tf.constant(images), tf.constant(labels)

    @cached_property
    def epoch(self) -> tf.data.Dataset:
        """The batch in memory, once for each step."""
        return tf.data.Dataset.from_tensors(self.batch).repeat(self.scale.steps).prefetch(2)

    @cached_property
    def source(self) -> ImageSource:
        """The image files."""
        items = read_folder(self.folder).items
        labels = np.array([CLASSES.index(item.label) for item in items])
        side = self.scale.side
        return ImageSource(items, labels, 2, DecodeSpec(side, side, "crop"), self.scale.batch)

    def network(self, name: str, arithmetic: str) -> Network:
        """Return a network with random weights."""
        return network(name, side=self.scale.side, precision=PRECISIONS[arithmetic])

    def rate(self, work: Callable[[], object], count: int) -> float:
        """Return images per second of ``work`` on ``count`` images, the median of some rounds.

        The work must wait for its result: a GPU computes asynchronously.
        """
        work()
        return count / statistics.median(clock(work) for _ in range(self.scale.rounds))


def clock(work: Callable[[], object]) -> float:
    """Return the wall seconds of ``work``."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def training_step(net: Network, arithmetic: str, **plan: Any) -> TrainingStep:
    """Return the step of tltool that trains the whole network.

    Args:
        net: the network.
        arithmetic: key of ``PRECISIONS``.
        plan: settings of the phase plan to replace.
    """
    first = net.backbone.stages[0].name
    one = trainer(net, net.model, PRECISIONS[arithmetic], stage=first, steps=100)
    changed = replace(one.plan, **plan)
    step = TrainingStep(
        one.network,
        one.groups,
        changed,
        one.strategy,
        loss_scale=arithmetic == "float16",
    )
    step.set_rate(1e-4, 1)
    return step


def step_rate(setup: Setup, net: Network, arithmetic: str = "bfloat16", **plan: Any) -> float:
    """Return images per second of tltool's training step on a batch in memory."""
    step = training_step(net, arithmetic, **plan)

    def work() -> None:
        for images, labels in setup.epoch:
            sums = step(images, labels)
        np.asarray(sums)

    return setup.rate(work, setup.scale.steps * setup.scale.batch)


def fit_rate(setup: Setup, net: Network) -> float:
    """Return images per second of Keras' ``fit`` on a batch in memory."""
    net.model.compile(
        keras.optimizers.AdamW(1e-4), keras.losses.CategoricalCrossentropy(from_logits=True)
    )
    return setup.rate(
        lambda: net.model.fit(setup.epoch, verbose=0, shuffle=False),
        setup.scale.steps * setup.scale.batch,
    )


def write_images(folder: Path, count: int, *, side: int) -> None:
    """Write ``count`` JPEG files of two classes that a network can distinguish, in two folders.

    Args:
        folder: gets a folder per class.
        count: of the files.
        side: about the side of the images, pixels.
    """
    rng = np.random.default_rng(0)
    for number in range(count):
        label = number % len(CLASSES)
        coarse = rng.uniform(0, 255, (6 + 6 * label, 8 + 8 * label, 3)).astype(np.uint8)
        size = (side * 5 // 4, side)
        image = Image.fromarray(coarse).resize(size, Image.Resampling.BICUBIC)
        path = folder / CLASSES[label] / f"{number:05}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        image.save(path, quality=90)
