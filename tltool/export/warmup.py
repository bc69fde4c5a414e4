"""Warm-up requests, which TensorFlow Serving runs before it accepts requests.

The package tensorflow-serving-api would bring the protobuf messages, but also pins a TensorFlow of
its own. The four messages needed here consist of strings and nested messages, so this module
encodes them directly.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import tensorflow as tf

WARMUP_FILE = Path("assets.extra") / "tf_serving_warmup_requests"


def write_warmup(
    folder: Path, *, model_name: str, signature: str, batches: Sequence[list[bytes]]
) -> None:
    """Write one predict request per batch.

    Args:
        folder: the SavedModel.
        model_name: the name under which the model will be served.
        signature: the name of a signature whose only input is ``image_bytes`` string [N].
        batches: the encoded images of each request.

    Raises:
        OSError: the file cannot be written.
    """
    path = folder / WARMUP_FILE
    path.parent.mkdir(exist_ok=True)
    with tf.io.TFRecordWriter(str(path)) as writer:
        for images in batches:
            request = predict_request(model_name, signature, {"image_bytes": tf.constant(images)})
            writer.write(_field(6, _field(1, request)))  # PredictionLog.predict_log.request


def sample_image() -> bytes:
    """Return a small JPEG of noise, always the same."""
    noise = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    content: bytes = tf.io.encode_jpeg(noise).numpy()
    return content


def predict_request(model_name: str, signature: str, inputs: dict[str, tf.Tensor]) -> bytes:
    """Return a serialised ``tensorflow.serving.PredictRequest``.

    Reference:
        tensorflow_serving/apis/predict.proto and model.proto.
    """
    model_spec = _field(1, model_name.encode()) + _field(3, signature.encode())
    entries = [
        _field(1, name.encode()) + _field(2, tf.make_tensor_proto(value).SerializeToString())
        for name, value in inputs.items()
    ]
    return _field(1, model_spec) + b"".join(_field(2, entry) for entry in entries)


def _field(number: int, content: bytes) -> bytes:
    """Return a length-delimited protobuf field: a string, bytes or a message."""
    length_delimited = 2
    return _varint(number << 3 | length_delimited) + _varint(len(content)) + content


def _varint(value: int) -> bytes:
    encoded = bytearray()
    while value > 0x7F:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*encoded, value])
