"""The frozen network as it is, with batch normalisation folded, and with constants in the graph.

python -m benchmarks.frozen_trunk [--backbones resnet50,resnet50v2] [--rounds 5] [--batch 32]

Random weights at 224 pixels, pooled features, the arithmetic of the machine. The ways take turns;
each figure is the median of the rounds, in milliseconds of processor time an image. ``prepared`` is
the processor time up to the end of the first batch, ``difference`` the largest in float32, of the
largest feature. tltool runs the second way.
"""

import argparse
import os
import statistics
import time
from collections.abc import Callable

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import keras
import numpy as np
import tensorflow as tf
from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

from benchmarks.pieces import SIDE, network
from tltool.models.batch_norm_folding import folded
from tltool.training.precision import Precision, choose_precision

Run = Callable[[tf.Tensor], np.ndarray]


def traced(model: keras.Model) -> tf.types.experimental.ConcreteFunction:
    signature = [tf.TensorSpec((None, SIDE, SIDE, 3), tf.float32)]
    call = tf.function(
        lambda images: model(images, training=False), input_signature=signature, autograph=False
    )
    return call.get_concrete_function()


def frozen(model: keras.Model) -> Run:
    constant = convert_variables_to_constants_v2(traced(model))
    return lambda images: constant(images)[0].numpy()


def live(model: keras.Model) -> Run:
    call = traced(model)
    return lambda images: call(images).numpy()


WAYS: dict[str, Callable[[keras.Model], Run]] = {
    "live": live,
    "folded": lambda model: live(folded(model)),
    "constants": frozen,
    "folded, constants": lambda model: frozen(folded(model)),
}


def draw_statistics(model: keras.Model) -> None:
    draw = np.random.default_rng(1)
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            for variable in layer.variables:
                variable.assign(draw.uniform(0.5, 1.5, variable.shape))


def compare(name: str, images: tf.Tensor, precision: Precision, rounds: int) -> None:
    net = network(name)
    draw_statistics(net.model)
    exact: np.ndarray | None = None
    runs, prepared, difference = {}, {}, {}
    for way, make in WAYS.items():
        started = time.process_time()
        runs[way] = make(net.images_to_pooled)
        with precision.active():
            runs[way](images)
        prepared[way] = time.process_time() - started
        features = runs[way](images)
        exact = features if exact is None else exact
        difference[way] = np.abs(features - exact).max() / np.abs(exact).max()
    spent: dict[str, list[float]] = {way: [] for way in WAYS}
    with precision.active():
        for _ in range(rounds):
            for way, run in runs.items():
                started = time.process_time()
                run(images)
                spent[way].append(1000 * (time.process_time() - started) / len(images))
    first = statistics.median(spent["live"])
    for way, times in spent.items():
        middle = statistics.median(times)
        print(
            f"| {name} | {way} | {prepared[way]:.1f} | {middle:.1f} | {middle / first:.2f} | "
            f"{difference[way]:.0e} |",
            flush=True,
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--backbones", default="vgg16,resnet18,resnet50,resnet50v2")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--batch", type=int, default=32)
    args = parser.parse_args()
    precision = choose_precision("auto", gpu=bool(tf.config.list_physical_devices("GPU")))
    print(f"{precision.arithmetic}, batch of {args.batch}\n")
    print("| backbone | way | prepared, CPU s | ms an image, CPU | ratio | difference |")
    print("|---|---|---|---|---|---|")
    draw = np.random.default_rng(0)
    images = tf.constant(draw.uniform(0, 255, (args.batch, SIDE, SIDE, 3)), tf.float32)
    for name in args.backbones.split(","):
        compare(name, images, precision, args.rounds)


if __name__ == "__main__":
    main()
