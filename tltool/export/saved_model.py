"""Write a trained model as a SavedModel that takes image bytes: decode, network and names in one.

Every version folder holds two signatures with the same outputs:

``serving_default(image_bytes: string [N])``
    ``class_name`` string [N], ``class_id`` int64 [N], ``confidence`` float32 [N],
    ``probabilities`` float32 [N, C] and ``ok`` bool [N]. An item that cannot be decoded has
    ``ok`` false, ``class_name`` "", ``class_id`` -1, and 1/C as each probability and as
    confidence; the others in its batch are answered.
``images(images: float32 [N, H, W, 3])``
    RGB in 0…255 at the model's size; the same outputs without ``ok``.
"""

from __future__ import annotations

import errno
import json
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tltool.data.decode import DecodeSpec, decode_batch
from tltool.errors import EnvironmentProblem, TltoolError
from tltool.export.gates import check_no_random_op
from tltool.export.versions import publish, staging
from tltool.export.warmup import write_warmup

BYTES_SIGNATURE = "serving_default"
IMAGES_SIGNATURE = "images"
CLASS_NAMES_ASSET = "class_names.json"
DECODE_ASSET = "decode.json"
METADATA_ASSET = "metadata.json"
SPARE_BYTES = 32 * 2**20  # what a version folder needs besides its weights


def export_saved_model(
    model: keras.Model,
    *,
    class_names: Sequence[str],
    decode: DecodeSpec,
    base_dir: Path,
    metadata: Mapping[str, Any],
    verify: Callable[[Path], object],
    temperature: float = 1.0,
) -> Path:
    """Write ``base_dir/<next version>/``, or nothing at all.

    Args:
        model: images float32 [B, H, W, 3] in 0…255 to logits [B, C]; of any dtype policy, the
            export is float32.
        class_names: the C names, in the order of the logits.
        decode: how bytes become the model's input.
        base_dir: the folder of the versions; its name is the model's name in TensorFlow Serving.
        metadata: JSON-ready facts that travel along as an asset.
        verify: called with the finished folder before it gets its number; what it raises stops
            the export.
        temperature: divides the logits before the softmax.

    Returns:
        The version folder.

    Raises:
        GateError: the graph is random, or what ``verify`` raised.
        EnvironmentProblem: the disk is full or the folder not writable.
        ValueError: model, names and decode spec do not belong together.
    """
    _check_shapes(model, class_names, decode)
    module = _ServedModel(
        float32_model(model), class_names=class_names, decode=decode, temperature=temperature
    )
    facts = {
        **metadata,
        "temperature": temperature,
        "tensorflow": tf.__version__,
        "keras": keras.__version__,
    }
    with _disk_problems_explained(base_dir), staging(base_dir) as staged:
        _check_space(base_dir, module)
        _write(module, staged, class_names=class_names, decode=decode, metadata=facts)
        write_warmup(
            staged,
            model_name=base_dir.resolve().name,
            signature=BYTES_SIGNATURE,
            images=[_sample_image()],
        )
        check_no_random_op(staged)
        verify(staged)
        return publish(staged, base_dir)


def float32_model(model: keras.Model) -> keras.Model:
    """Return ``model`` itself if all of it computes in float32, else a copy that does.

    The variables of a model trained under ``tf.distribute`` live on several devices, which no
    SavedModel can express, so such a model is copied too.
    """
    plain = all(layer.dtype_policy.name == "float32" for layer in model.layers)
    spread = any(isinstance(v.value, tf.distribute.DistributedValues) for v in model.variables)
    if plain and not spread:
        return model
    clone = keras.models.clone_model(model, clone_function=_float32_layer)
    clone.set_weights(model.get_weights())
    return clone


def _float32_layer(layer: keras.layers.Layer) -> keras.layers.Layer:
    return type(layer).from_config({**layer.get_config(), "dtype": "float32"})


class _ServedModel(tf.Module):  # type: ignore[misc]
    """Both signatures over one traced network; holds the variables that the network reads."""

    def __init__(
        self,
        model: keras.Model,
        *,
        class_names: Sequence[str],
        decode: DecodeSpec,
        temperature: float,
    ) -> None:
        super().__init__(name="tltool")

        pixels = tf.TensorSpec((None, *model.input_shape[1:]), tf.float32, "images")

        @tf.function(input_signature=[pixels], autograph=False)
        def probabilities(images: tf.Tensor) -> tf.Tensor:
            logits = tf.cast(model(images, training=False), tf.float32)
            return tf.nn.softmax(logits / temperature)

        # Traced once: both signatures call this very function, which halves graph and time.
        network = probabilities.get_concrete_function()
        self.read_variables = list(network.graph.variables)

        @tf.function(input_signature=[pixels], autograph=False)
        def from_images(images: tf.Tensor) -> dict[str, tf.Tensor]:
            return _answers(network(images), class_names)

        contents = tf.TensorSpec([None], tf.string, "image_bytes")

        @tf.function(input_signature=[contents], autograph=False)
        def from_bytes(image_bytes: tf.Tensor) -> dict[str, tf.Tensor]:
            images, ok = decode_batch(image_bytes, decode)
            return _with_ok(_answers(network(images), class_names), ok)

        self.from_images = from_images
        self.from_bytes = from_bytes


def _answers(probabilities: tf.Tensor, class_names: Sequence[str]) -> dict[str, tf.Tensor]:
    class_id = tf.argmax(probabilities, axis=-1)
    return {
        "class_name": tf.gather(tf.constant(list(class_names), tf.string), class_id),
        "class_id": class_id,
        "confidence": tf.reduce_max(probabilities, axis=-1),
        "probabilities": probabilities,
    }


def _with_ok(answers: dict[str, tf.Tensor], ok: tf.Tensor) -> dict[str, tf.Tensor]:
    """Replace the answers to what could not be decoded by such that say nothing."""
    even = tf.ones_like(answers["probabilities"]) / answers["probabilities"].shape[-1]
    return {
        "class_name": tf.where(ok, answers["class_name"], ""),
        "class_id": tf.where(ok, answers["class_id"], tf.constant(-1, tf.int64)),
        "confidence": tf.where(ok, answers["confidence"], even[:, 0]),
        "probabilities": tf.where(ok[:, tf.newaxis], answers["probabilities"], even),
        "ok": tf.identity(ok),
    }


def _write(
    module: _ServedModel,
    folder: Path,
    *,
    class_names: Sequence[str],
    decode: DecodeSpec,
    metadata: Mapping[str, Any],
) -> None:
    documents = {
        CLASS_NAMES_ASSET: list(class_names),
        DECODE_ASSET: decode.to_json(),
        METADATA_ASSET: dict(metadata),
    }
    signatures = {BYTES_SIGNATURE: module.from_bytes, IMAGES_SIGNATURE: module.from_images}
    with tempfile.TemporaryDirectory() as sources:
        module.documents = [
            _asset(Path(sources) / name, document) for name, document in documents.items()
        ]
        tf.saved_model.save(module, str(folder), signatures=signatures)


def _asset(path: Path, document: Any) -> tf.saved_model.Asset:
    """Write ``document`` and return it as an asset, which stays with the model if re-saved."""
    path.write_text(json.dumps(document, ensure_ascii=False, indent=2), encoding="utf-8")
    return tf.saved_model.Asset(str(path))


def _sample_image() -> bytes:
    """Return a small JPEG of noise, the same every time."""
    noise = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    content: bytes = tf.io.encode_jpeg(noise).numpy()
    return content


def _check_shapes(model: keras.Model, class_names: Sequence[str], decode: DecodeSpec) -> None:
    size = (decode.height, decode.width, 3)
    if tuple(model.input_shape[1:]) != size or model.output_shape[-1] != len(class_names):
        raise ValueError(
            f"model {model.input_shape} to {model.output_shape}, images {size} and "
            f"{len(class_names)} class names do not belong together"
        )


def _check_space(base_dir: Path, module: _ServedModel) -> None:
    sizes = (v.shape.num_elements() * v.dtype.size for v in module.read_variables)
    needed, free = sum(sizes) + SPARE_BYTES, shutil.disk_usage(base_dir).free
    if free < needed:
        raise _disk_full(base_dir, f"{free / 2**20:.0f} MB are free, {needed / 2**20:.0f} needed")


def _disk_full(base_dir: Path, detail: str) -> EnvironmentProblem:
    return EnvironmentProblem(
        f"The disk is full: the model cannot be written to {base_dir} ({detail}).",
        hint=f"free some space there, or remove old versions in {base_dir}, and export again",
    )


@contextmanager
def _disk_problems_explained(base_dir: Path) -> Iterator[None]:
    try:
        yield
    except TltoolError:
        raise
    except (OSError, tf.errors.OpError) as error:
        full = isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)
        if full or "No space left on device" in str(error) or "quota exceeded" in str(error):
            raise _disk_full(base_dir, "it filled up while writing") from error
        if isinstance(error, OSError):
            raise EnvironmentProblem(
                f"The model cannot be written to {base_dir}: {error.strerror or error}.",
                hint="choose a folder that you may write to",
            ) from error
        raise
