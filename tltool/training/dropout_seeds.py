"""Seeds of dropout and stochastic depth, which differ by epoch, layer and device."""

from __future__ import annotations

import keras
import numpy as np
import tensorflow as tf

from tltool.training.agreement import own_devices


def reseed(
    network: keras.Model, strategy: tf.distribute.Strategy, *, seed: int, epoch: int
) -> None:
    """Make the random masks of an epoch a function of (seed, epoch, layer, device)."""
    for number, generator in enumerate(_generators(network)):
        mixed = np.random.SeedSequence((seed, epoch, number)).generate_state(2, np.uint32)
        _set_state(strategy, generator, mixed.astype(generator.state.dtype))


def separate_devices(network: keras.Model, strategy: tf.distribute.Strategy) -> None:
    """Let each device draw masks of its own; those of the first device stay as they are."""
    for generator in _generators(network):
        _set_state(strategy, generator, keras.ops.convert_to_numpy(generator.state))


def _generators(network: keras.Model) -> list[keras.random.SeedGenerator]:
    return [
        value
        for layer in network._flatten_layers()
        for value in vars(layer).values()
        if isinstance(value, keras.random.SeedGenerator)
    ]


def _set_state(
    strategy: tf.distribute.Strategy, generator: keras.random.SeedGenerator, state: np.ndarray
) -> None:
    """Set the state of the first device of all, and states derived from it on the others.

    A variable of MirroredStrategy has a copy on each device. Keras advances each copy on its own
    device, so the copies stay different.
    """
    copies = strategy.experimental_local_results(generator.state.value)
    for device, copy in zip(own_devices(strategy), copies, strict=True):
        if device == 0:
            copy.assign(state)
            continue
        entropy = (*(int(word) for word in state), device)
        own = np.random.SeedSequence(entropy).generate_state(2, np.uint32)
        copy.assign(own.astype(state.dtype))
