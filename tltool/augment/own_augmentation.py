"""Augmentation by a Keras layer or a function of the user's, as a pure function of a seed."""

from __future__ import annotations

import inspect
import secrets
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tltool.augment.spec import OwnTransform
from tltool.errors import UsageError

_SEED = "seed_generator_state"
# operations with a state that is only read, or whose functions are looked into
_HARMLESS = (
    *("VarHandleOp", "ReadVariableOp", "ResourceGather", "Placeholder", "Assert", "NoOp"),
    *("StatefulPartitionedCall", "If", "While", "Case", "Print", "PrintV2"),
)


def own_transform(augment: Any, size: tuple[int, int]) -> OwnTransform:
    """Return a layer or a function as a transform of single images, tried on a random image.

    Random generators of Keras, such as those of its layers, start from the seed of the image, so
    that the same (seed, epoch, image) always gives the same result. A function with a parameter
    ``seed`` gets the seed, int32 [2], for ``tf.random.stateless_uniform`` and its like.

    Args:
        augment: a Keras layer of batches, which is called with ``training=True``; or a function of
            one image. Images are float32 [H, W, 3] in 0..255, before and after.
        size: height and width of the images.

    Raises:
        UsageError: it is neither, it fails, or it returns something else than such an image.
    """
    if not callable(augment):
        raise UsageError(
            f"augment= is of type {type(augment).__name__}",
            hint="give a Keras layer, or a function that takes an image and returns an image",
        )
    name = getattr(augment, "__name__", type(augment).__name__)
    sample = np.random.default_rng(0).uniform(0, 255, (*size, 3)).astype(np.float32)
    with tf.device("/CPU:0"):
        try:
            if isinstance(augment, keras.layers.Layer):
                augment(sample[np.newaxis], training=True)  # layers make their variables
            apply = _of_layer(augment) if isinstance(augment, keras.layers.Layer) else _of(augment)
            result = tf.function(apply, autograph=False)(tf.constant(sample), tf.constant([0, 1]))
        except Exception as error:
            raise _failed(name, size, error) from error
        _check_result(name, size, np.asarray(result))
        states = _stateful_operations(apply, size)
    return OwnTransform(name, apply, secrets.token_hex(8), states)


def _of_layer(layer: keras.layers.Layer) -> Callable[[tf.Tensor, tf.Tensor], tf.Tensor]:
    return _seeded(lambda image, _: layer(image[tf.newaxis], training=True)[0], layer)


def _of(function: Callable[..., Any]) -> Callable[[tf.Tensor, tf.Tensor], tf.Tensor]:
    try:
        takes_seed = "seed" in inspect.signature(function).parameters
    except ValueError:  # a function of C
        takes_seed = False
    converted = tf.function(function)  # `if` and `for` on tensors work, as in tf.data
    if takes_seed:
        return _seeded(lambda image, seed: converted(image, seed=seed))
    return _seeded(lambda image, _: converted(image))


def _seeded(
    call: Callable[[tf.Tensor, tf.Tensor], Any], layer: keras.layers.Layer | None = None
) -> Callable[[tf.Tensor, tf.Tensor], tf.Tensor]:
    """Return ``call`` with every random generator of Keras set to the seed of the image."""
    # Keras has no public name for the generator of its random functions without a seed
    from keras.src.random.seed_generator import global_seed_generator

    layers = layer._flatten_layers() if layer is not None else ()
    states = [value for one in layers for value in one.variables if value.name == _SEED]
    states = [*{id(value): value for value in (*states, global_seed_generator().state)}.values()]

    def apply(image: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
        seeds = [tf.random.experimental.stateless_fold_in(seed, n) for n in range(len(states))]
        values = [(v, tf.cast(one, v.dtype)) for v, one in zip(states, seeds, strict=True)]
        with keras.StatelessScope(state_mapping=values):
            changed = call(image, seed)
        return tf.cast(changed, tf.float32)

    return apply


def _stateful_operations(apply: Callable[..., tf.Tensor], size: tuple[int, int]) -> tuple[str, ...]:
    """Return the names of the operations that make the result depend on more than the seed."""
    from tensorflow.python.framework import op_def_registry

    image, seed = tf.TensorSpec((*size, 3), tf.float32), tf.TensorSpec((2,), tf.int32)
    graph = tf.function(apply, autograph=False).get_concrete_function(image, seed).graph
    document = graph.as_graph_def()
    names = {node.op for node in document.node}
    names |= {node.op for function in document.library.function for node in function.node_def}
    known = {name: op_def_registry.get(name) for name in sorted(names)}
    return tuple(
        name for name, op in known.items() if op and op.is_stateful and name not in _HARMLESS
    )


def _failed(name: str, size: tuple[int, int], error: Exception) -> UsageError:
    first = (str(error).strip() or type(error).__name__).splitlines()[0]
    return UsageError(
        f"the augmentation {name} fails on an image of {size[0]} x {size[1]} pixels: {first}",
        hint="it gets one image, float32 [height, width, 3] in 0 to 255, and returns such an image",
    )


def _check_result(name: str, size: tuple[int, int], result: np.ndarray) -> None:
    if result.shape != (*size, 3):
        raise UsageError(
            f"the augmentation {name} makes an image of shape {list(result.shape)} of one of "
            f"{[*size, 3]}",
            hint="it must keep height, width and the three channels",
        )
    if not np.isfinite(result).all() or result.max() <= 1:
        raise UsageError(
            f"the augmentation {name} returns pixels from {result.min():g} to {result.max():g}, "
            "and pixels are from 0 to 255",
            hint="leave out a division by 255: the network scales its input itself",
        )
