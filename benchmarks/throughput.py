"""Throughput of extraction and training compared with the network alone, in one run.

python -m benchmarks.throughput [--images 240] [--rounds 3] [--extraction]

Reads hymenoptera from TLTOOL_TEST_DATA. Prints Markdown with three ratios, each a median over
alternating rounds: extraction with decoding and augmentation against the forward pass alone; a
fine-tune epoch without cache against the same epoch in Keras' fit, both in float32; a cached
fine-tune epoch against one without cache, in the arithmetic of the machine.
"""

import argparse
import os
import statistics
import tempfile
import time
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import keras
import tensorflow as tf

from benchmarks.pieces import (
    SIDE,
    hymenoptera,
    live_phase,
    network,
    schedule,
    second_epoch,
    trainer,
)
from tltool.augment.spec import AugmentSpec
from tltool.events import SilentObserver
from tltool.features.extract import Extractor
from tltool.features.image_source import ImageSource
from tltool.features.sampler import Sampler
from tltool.models.network_parts import Network
from tltool.training.cached_phase import finetune_data
from tltool.training.phase_plan import PhaseData
from tltool.training.precision import FLOAT32, Precision, choose_precision
from tltool.training.validation import HeadLogits, Pooling

AUGMENT = AugmentSpec(flip="horizontal", crop=(0.6, 1.25))
STAGE = "block5"
QUIET = SilentObserver()


def clock(work) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def both_clocks(work, images: int) -> tuple[float, float]:
    """Return wall and processor seconds an image."""
    started = time.process_time()
    wall = clock(work)
    return wall / images, (time.process_time() - started) / images


def extraction(net: Network, train: ImageSource, precision: Precision, rounds: int) -> None:
    extractor = Extractor(net.images, net.pooled, net.cut(STAGE))
    batch = tf.random.uniform((train.batch_size, SIDE, SIDE, 3), maxval=255.0)
    steps = max(1, len(train) // train.batch_size)

    def bare() -> None:
        with precision.active():
            for _ in range(steps):
                extractor.forward(batch)[0].numpy()

    def whole() -> None:
        with tempfile.TemporaryDirectory() as folder, precision.active():
            extractor.run(
                lambda start: train.augmented(AUGMENT, seed=0, epoch=1, start=start),
                Path(folder) / "pass",
                count=len(train),
                classes=2,
                observer=QUIET,
            )

    bare()
    pairs = [
        (both_clocks(bare, steps * train.batch_size), both_clocks(whole, len(train)))
        for _ in range(rounds)
    ]
    wall, cpu = ([alone[kind] / full[kind] for alone, full in pairs] for kind in (0, 1))
    rounds_apart = ", ".join(f"{one:.2f}" for one in cpu)  # the first also traces the decoder
    speed = statistics.median(1 / full[0] for _, full in pairs)
    spent = statistics.median(full[1] for _, full in pairs)
    what = "extraction of augmented images against the bare forward pass"
    print(f"| {what} | {speed:.1f} images/s | {statistics.median(wall):.2f} |")
    print(f"| in processor time, by round | {1000 * spent:.0f} ms an image | {rounds_apart} |")


def epoch_seconds(
    net: Network, part: keras.Model, data: PhaseData, precision: Precision, train: ImageSource
) -> float:
    steps = -(-len(train) // train.batch_size)
    one = trainer(net, part, precision, stage=STAGE, steps=steps)
    return float(second_epoch(one, data)["seconds"])


def live_against_keras(net: Network, train: ImageSource, rounds: int) -> None:
    data = live_phase(net, train, AUGMENT, FLOAT32)
    data = PhaseData(data.batches, lambda: {"val_loss": 0.0, "val_accuracy": 0.0})
    trained = {v.path for group in net.trained_from(STAGE) for v in group}
    for layer in net.model.layers:
        layer.trainable = any(v.path in trained for v in layer.variables)
    net.model.compile(
        keras.optimizers.Adam(1e-5), keras.losses.CategoricalCrossentropy(from_logits=True)
    )
    batches = [(images, labels) for _, images, labels in train.original()]
    decoded = tf.data.Dataset.from_generator(
        lambda: iter(batches),
        output_signature=(
            tf.TensorSpec((None, SIDE, SIDE, 3), tf.float32),
            tf.TensorSpec((None, 2), tf.float32),
        ),
    )
    net.model.fit(decoded, epochs=1, verbose=0, shuffle=False)
    ratios = []
    for _ in range(rounds):
        keras_seconds = clock(lambda: net.model.fit(decoded, epochs=1, verbose=0, shuffle=False))
        ratios.append(keras_seconds / epoch_seconds(net, net.model, data, FLOAT32, train))
    print(
        f"| live epoch (`cache: off`, decoding and augmenting) against Keras' fit on decoded "
        f"images, float32 | {len(train)} images | {statistics.median(ratios):.2f} |"
    )


def cached_against_live(net: Network, train: ImageSource, precision: Precision) -> None:
    cut = net.cut(STAGE)
    with tempfile.TemporaryDirectory() as folder, precision.active():
        view = Extractor(net.images, net.pooled, cut).run(
            lambda start: train.original(start=start),
            Path(folder) / "pass",
            count=len(train),
            classes=2,
            observer=QUIET,
        )
        cached = finetune_data(
            [view],
            view,
            train.labels,
            to_pooled=Pooling(keras.Model(cut, net.pooled), precision),
            head=HeadLogits(net.pooled_to_logits),
            batch_size=train.batch_size,
            sampler=Sampler(train.labels, seed=0),
            augmentation=schedule(AUGMENT),
        )
        fast = epoch_seconds(net, keras.Model(cut, net.model.output), cached, precision, train)
    for name, arithmetic in (("float32", FLOAT32), (precision.arithmetic, precision)):
        data = live_phase(net, train, AUGMENT, arithmetic)
        slow = epoch_seconds(net, net.model, data, arithmetic, train)
        print(
            f"| cached fine-tune epoch ({precision.arithmetic}) against a live one ({name}), "
            f"validation included | {fast:.1f} s against {slow:.1f} s | {slow / fast:.1f} |"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=240)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--extraction", action="store_true", help="only the first two rows")
    args = parser.parse_args()
    train = hymenoptera(args.images)
    precision = choose_precision("auto", gpu=bool(tf.config.list_physical_devices("GPU")))
    print("| what | measured | ratio |\n|---|---|---|")
    extraction(network("vgg16"), train, precision, args.rounds)
    if args.extraction:
        return
    cached_against_live(network("vgg16"), train, precision)
    live_against_keras(network("vgg16"), train, args.rounds)


if __name__ == "__main__":
    main()
