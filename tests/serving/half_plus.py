"""The toy models of TensorFlow Serving's documentation, built with plain TensorFlow."""

from __future__ import annotations

from pathlib import Path

import tensorflow as tf


class _HalfPlus(tf.Module):
    """y = x / 2 + ``addend``."""

    def __init__(self, addend: float) -> None:
        super().__init__()
        self.addend = tf.Variable(addend)

    @tf.function(input_signature=[tf.TensorSpec([None], tf.float32, name="x")])
    def serve(self, x: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"y": 0.5 * x + self.addend}


class _Three(tf.Module):
    """Three named inputs, as in the documentation; the outputs show that each input arrived."""

    @tf.function(
        input_signature=[
            tf.TensorSpec([None], tf.string, name="tag"),
            tf.TensorSpec([None, 5], tf.float32, name="signal"),
            tf.TensorSpec([None, 2, 2], tf.int32, name="sensor"),
        ]
    )
    def serve(self, tag: tf.Tensor, signal: tf.Tensor, sensor: tf.Tensor) -> dict[str, tf.Tensor]:
        return {
            "tag": tf.strings.upper(tag),
            "tag_bytes": tag,
            "signal": tf.reduce_sum(signal, axis=1),
            "sensor": sensor * 2,
        }


def _save(module: tf.Module, folder: Path) -> Path:
    tf.saved_model.save(module, str(folder), signatures=module.serve)
    return folder


def half_plus(addend: float, base_dir: Path, version: int = 123) -> Path:
    """Write the model that halves and adds ``addend``; return its version folder."""
    return _save(_HalfPlus(addend), base_dir / str(version))


def three_inputs(base_dir: Path) -> Path:
    """Write the model of the inputs tag, signal and sensor; return its version folder."""
    return _save(_Three(), base_dir / "1")
