"""Mixed precision: which arithmetic a device supports, and how to switch it on in TensorFlow."""

from __future__ import annotations

import platform
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import keras
import tensorflow as tf

Arithmetic = Literal["float32", "bfloat16", "float16"]
_REWRITE = "auto_mixed_precision_onednn_bfloat16"


@dataclass(frozen=True)
class Precision:
    """Arithmetic of the network. Weights are always float32.

    Attributes:
        arithmetic: data type of the large matrix products.
        policy: name of the Keras dtype policy with which the network is built.
        rewrite: whether TensorFlow's graph rewriter converts float32 graphs to bfloat16. On CPUs
            this beats the mixed_bfloat16 policy (446 against 358 GFLOP/s on VGG16).
    """

    arithmetic: Arithmetic
    policy: str
    rewrite: bool

    @contextmanager
    def active(self) -> Iterator[None]:
        """Compute graphs called inside in this arithmetic.

        TensorFlow reads the option when a graph is called, not when it is traced, so the same
        function gives float32 results again afterwards. It may be nested.
        """
        if not self.rewrite:
            yield
            return
        before = tf.config.optimizer.get_experimental_options().get(_REWRITE, False)
        tf.config.optimizer.set_experimental_options({_REWRITE: True})
        try:
            yield
        finally:
            tf.config.optimizer.set_experimental_options({_REWRITE: before})

    @contextmanager
    def building(self) -> Iterator[None]:
        """Build networks inside under the dtype policy of this precision."""
        before = keras.config.dtype_policy()
        keras.config.set_dtype_policy(self.policy)
        try:
            yield
        finally:
            keras.config.set_dtype_policy(before)


FLOAT32 = Precision("float32", "float32", rewrite=False)


def choose_precision(requested: str, *, gpu: bool) -> Precision:
    """Return the precision for ``requested`` (auto, float32, bfloat16, float16) on this machine."""
    if requested == "auto":
        requested = "bfloat16" if _fast_bfloat16(gpu=gpu) else "float32"
    if requested == "bfloat16":
        return Precision("bfloat16", "mixed_bfloat16" if gpu else "float32", rewrite=not gpu)
    if requested == "float16":
        return Precision("float16", "mixed_float16", rewrite=False)
    return FLOAT32


def recorded_precision(arithmetic: str, *, gpu: bool) -> Precision:
    """Return the precision in which a run was computed if this machine supports it, else float32.

    Args:
        arithmetic: float32, bfloat16 or float16.
        gpu: whether GPUs compute.
    """
    supported = arithmetic == "bfloat16" and _fast_bfloat16(gpu=gpu)
    return choose_precision("bfloat16" if supported else "float32", gpu=gpu)


def _fast_bfloat16(*, gpu: bool) -> bool:
    if gpu:
        details = [
            tf.config.experimental.get_device_details(device)
            for device in tf.config.list_physical_devices("GPU")
        ]
        return all(one.get("compute_capability", (0, 0)) >= (8, 0) for one in details)
    return cpu_has_bfloat16()


def cpu_has_bfloat16() -> bool:
    """Whether the processor multiplies bfloat16 natively (avx512_bf16 or amx_bf16; Linux only)."""
    info = Path("/proc/cpuinfo")
    if platform.system() != "Linux" or not info.is_file():
        return False
    flags = info.read_text(encoding="utf-8", errors="replace")
    return "avx512_bf16" in flags or "amx_bf16" in flags
