"""The settings of libraries under which tltool computes, also in a process that has set others.

A notebook or a program may have switched Keras to ``channels_first`` or ``mixed_float16``, run
TensorFlow's functions eagerly, or let Pillow accept truncated files. Each of these changes a
network, its numbers or its images without a message. The functions of `tltool.workflows` run under
the settings below and restore those that they found.
"""

from __future__ import annotations

import functools
import random
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, ParamSpec, TypeVar

from tltool.errors import EnvironmentProblem
from tltool.runs.keras_setup import KERAS_SETTINGS, check_keras

P = ParamSpec("P")
R = TypeVar("R")
Restore = Callable[[], object]

# options of TensorFlow's graph optimizer that change numbers, or switch off what tltool asks for
_OPTIMIZER = (
    "auto_mixed_precision",
    "auto_mixed_precision_mkl",
    "auto_mixed_precision_onednn_bfloat16",
    "disable_meta_optimizer",
)

_lock = threading.RLock()
_users = 0
_restore = ExitStack()
_thread = threading.local()


def with_own_settings(function: Callable[P, R]) -> Callable[P, R]:
    """Return ``function`` run under ``own_settings``."""

    @functools.wraps(function)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> R:
        with own_settings():
            return function(*args, **kwargs)

    return wrapped


@contextmanager
def own_settings() -> Iterator[None]:
    """Run the body under tltool's own settings; restore the settings found before, also on errors.

    May be nested, and used by several threads: settings of the process are restored when the last
    one leaves.

    Raises:
        EnvironmentProblem: Keras runs with another backend, or TensorFlow is inside a graph or a
            distribution strategy of the caller.

    Examples:
        >>> keras.config.set_image_data_format("channels_first")
        >>> with own_settings():
        ...     keras.config.image_data_format()
        'channels_last'
    """
    if getattr(_thread, "inside", False):
        yield
        return
    import numpy as np

    check_keras()
    _check_tensorflow()
    with ExitStack() as stack:
        stack.enter_context(_process_settings())
        stack.callback(_set_policy())
        # NumPy's own defaults
        stack.enter_context(np.errstate(divide="warn", over="warn", under="ignore", invalid="warn"))
        _thread.inside = True
        stack.callback(setattr, _thread, "inside", False)
        yield


def _check_tensorflow() -> None:
    import tensorflow as tf

    if not tf.executing_eagerly():
        raise EnvironmentProblem(
            "tltool was called inside a TensorFlow graph, or with eager execution disabled",
            hint="call it outside of tf.function and tf.Graph, in a process without "
            "tf.compat.v1.disable_eager_execution()",
        )
    if tf.distribute.has_strategy():
        raise EnvironmentProblem(
            "tltool was called inside the scope of a tf.distribute strategy",
            hint="call it outside of the scope; --device chooses the GPUs",
        )


@contextmanager
def _process_settings() -> Iterator[None]:
    """Change the settings of the process for the first user, restore them after the last."""
    global _users
    with _lock:
        if _users == 0:
            for change in (_set_keras, _set_tensorflow, _set_pillow, _keep_random_states):
                _restore.callback(change())
        _users += 1
    try:
        yield
    finally:
        with _lock:
            _users -= 1
            if _users == 0:
                _restore.close()


def _set_policy() -> Restore:
    """Set the dtype policy, which Keras keeps per thread."""
    import keras

    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(KERAS_SETTINGS["dtype_policy"])
    return lambda: keras.config.set_dtype_policy(before)


def _set_keras() -> Restore:
    from keras import config

    before = (config.image_data_format(), config.floatx(), config.epsilon())

    def change(image_data_format: str, floatx: str, epsilon: float) -> None:
        config.set_image_data_format(image_data_format)
        config.set_floatx(floatx)
        config.set_epsilon(epsilon)

    change(*(KERAS_SETTINGS[name] for name in ("image_data_format", "floatx", "epsilon")))
    return lambda: change(*before)


def _set_tensorflow() -> Restore:
    import tensorflow as tf

    optimizer, experimental = tf.config.optimizer, tf.config.experimental
    eager, jit = tf.config.functions_run_eagerly(), optimizer.get_jit()
    tf32 = experimental.tensor_float_32_execution_enabled()
    found = optimizer.get_experimental_options()
    options = {name: True for name in _OPTIMIZER if found.get(name)}

    def change(*, own: bool) -> None:
        if eager:
            tf.config.run_functions_eagerly(not own)
        if jit:
            optimizer.set_jit(False if own else jit)
        if not tf32:
            experimental.enable_tensor_float_32_execution(own)
        if options:
            optimizer.set_experimental_options(dict.fromkeys(options, not own))

    change(own=True)
    return lambda: change(own=False)


def _set_pillow() -> Restore:
    from PIL import Image, ImageFile

    before = (ImageFile.LOAD_TRUNCATED_IMAGES, Image.MAX_IMAGE_PIXELS)
    ImageFile.LOAD_TRUNCATED_IMAGES = False
    Image.MAX_IMAGE_PIXELS = _PILLOW_PIXELS

    def restore() -> None:
        ImageFile.LOAD_TRUNCATED_IMAGES, Image.MAX_IMAGE_PIXELS = before

    return restore


_PILLOW_PIXELS = 1024**3 // 4 // 3  # Pillow's own default


def _keep_random_states() -> Restore:
    """Let the seeds of a run leave the caller's own random numbers as they were."""
    import numpy as np

    python, numpy = random.getstate(), np.random.get_state()

    def restore() -> None:
        random.setstate(python)
        np.random.set_state(numpy)

    return restore


def current_settings() -> dict[str, Any]:
    """Return the settings of Keras as they are now, with the keys of ``KERAS_SETTINGS``."""
    import keras

    return {
        "backend": keras.config.backend(),
        "image_data_format": keras.config.image_data_format(),
        "floatx": keras.config.floatx(),
        "epsilon": keras.config.epsilon(),
        "dtype_policy": keras.config.dtype_policy().name,
    }
