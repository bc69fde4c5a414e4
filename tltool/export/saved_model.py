"""Write a trained model as a SavedModel that takes image bytes: decode, network and names in one.

Every version folder holds five signatures, the first two with the same outputs; the last two are
left out if the last feature map is a single position:

``serving_default(image_bytes: string [N])``
    ``class_name`` string [N], ``class_id`` int64 [N], ``confidence`` float32 [N],
    ``probabilities`` float32 [N, C] and ``ok`` bool [N]; where ``top_k`` asks for them, the K best
    classes as ``top_class_names`` string [N, K] and ``top_probabilities`` float32 [N, K]. A model
    with an OOD detector also returns ``ood_score`` float32 [N], which grows with the distance from
    the training images, and ``is_known`` bool [N], whether the score is at most 1. An item that
    cannot be decoded has ``ok`` and ``is_known`` false, "" as names, ``class_id`` -1, ``ood_score``
    0, and 1/C as each probability and as confidence; the rest of its batch is not affected.
``images(images: float32 [N, H, W, 3])``
    RGB in 0…255 of any size, resized in the graph as a decoded image would be, and unchanged if
    they have the model's input size; the same outputs without ``ok``.
``features(image_bytes: string [N])``
    ``features`` float32 [N, D], the pooled features (embedding) that the head takes, for
    similarity search and drift monitoring, and ``ok`` bool [N]; zeros where an item cannot be
    decoded.
``explain(image_bytes: string [N])``
    ``heatmap`` float32 [N, h, w] in 0…1, a Grad-CAM heat map of the predicted class on a grid over
    the network's input, and ``ok`` bool [N]; zeros where an item cannot be decoded.
``explain_class(image_bytes: string [N], class_id: int64 [N])``
    the same for any class; -1 stands for the predicted class.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf

from tltool.data.decoding.decode import decode_batch
from tltool.data.decoding.decode_spec import DecodeSpec
from tltool.export.any_size import to_model_size
from tltool.export.disk import check_space, explain_disk_errors
from tltool.export.grad_cam import HeatMap, explain_signatures
from tltool.export.graph_checks import check_no_random_op
from tltool.export.model_folder import CLASS_NAMES_ASSET, METADATA_ASSET
from tltool.export.outputs import class_outputs, mask_undecoded, ood_outputs
from tltool.export.seal import write_seal
from tltool.export.versions import publish, staging
from tltool.export.warmup import sample_image, write_warmup
from tltool.runs.json_text import to_json
from tltool.training.ood import OutlierDetector

BYTES_SIGNATURE = "serving_default"
IMAGES_SIGNATURE = "images"
FEATURES_SIGNATURE = "features"
DECODE_ASSET = "decode.json"
WARMUP_BATCHES = (1, 8)


Embed = Callable[[keras.Model], Any]
"""Maps the float32 model to its symbolic features: [B, D], or [B, h, w, D] before pooling."""


@dataclass(frozen=True)
class Contents:
    """The contents of a SavedModel.

    Attributes:
        model: images float32 [B, H, W, 3] in 0…255 to logits [B, C]; any dtype policy (the export
            is float32).
        class_names: the C names, in the order of the logits.
        decode: how image bytes become the model's input.
        metadata: JSON-ready dictionary, written as an asset.
        temperature: divides the logits before the softmax.
        embed: returns the features of the float32 model; None for no ``features`` signature.
        attend: returns its last feature map [B, h, w, K]; None for no ``explain`` signatures.
        detector: the OOD detector on these features; None for no OOD outputs.
        top_k: how many of the most probable classes the signatures return by name, at most C.
        assets: further files by name, such as the recipe and the golden set.
    """

    model: keras.Model
    class_names: Sequence[str]
    decode: DecodeSpec
    metadata: Mapping[str, Any]
    temperature: float = 1.0
    embed: Embed | None = None
    attend: Embed | None = None
    detector: OutlierDetector | None = None
    top_k: int = 0
    assets: Mapping[str, bytes] = field(default_factory=dict)

    def documents(self) -> dict[str, bytes]:
        """Return the content of every asset by name; the same for all formats."""
        facts = {
            **self.metadata,
            "temperature": self.temperature,
            "tensorflow": tf.__version__,
            "keras": keras.__version__,
        }
        documents = {
            CLASS_NAMES_ASSET: list(self.class_names),
            DECODE_ASSET: self.decode.to_json(),
            METADATA_ASSET: facts,
        }
        texts = {name: to_json(document).encode() for name, document in documents.items()}
        return {**texts, **self.assets}


def export_saved_model(
    contents: Contents, base_dir: Path, *, verify: Callable[[Path], object]
) -> Path:
    """Write ``base_dir/<next version>/``, or nothing at all.

    Args:
        contents: what is exported.
        base_dir: the folder of the versions; its name is the model's name in TensorFlow Serving.
        verify: called with the finished folder before it gets its number; an error that it raises
            stops the export.

    Returns:
        The version folder.

    Raises:
        GateError: the graph draws random numbers, or ``verify`` raised it.
        EnvironmentProblem: the disk is full or the folder not writable.
        ValueError: model, class names and decode spec do not match.
    """
    check_shapes(contents)
    with explain_disk_errors(base_dir), staging(base_dir) as staged:
        write_saved_model(contents, staged, base_dir)
        verify(staged)
        write_seal(staged, {"format": "saved_model"})
        return publish(staged, base_dir)


def write_saved_model(contents: Contents, folder: Path, base_dir: Path) -> None:
    """Write the SavedModel into ``folder``, which is staged in ``base_dir``.

    Raises:
        GateError: the graph draws random numbers.
        EnvironmentProblem: the disk has not enough space.
        OSError: it cannot be written.
    """
    module = _ServedModel(contents)
    check_space(base_dir, module.read_variables)
    _write(module, folder, contents.documents())
    sample = sample_image()
    write_warmup(
        folder,
        model_name=base_dir.resolve().name,
        signature=BYTES_SIGNATURE,
        batches=[[sample] * count for count in WARMUP_BATCHES],
    )
    check_no_random_op(folder)


def float32_model(model: keras.Model) -> keras.Model:
    """Return ``model`` itself if all of it computes in float32, else a float32 copy.

    The variables of a model trained under ``tf.distribute`` live on several devices, which a
    SavedModel cannot express, so such a model is copied too.
    """
    is_float32 = all(layer.dtype_policy.name == "float32" for layer in model.layers)
    distributed = any(isinstance(v.value, tf.distribute.DistributedValues) for v in model.variables)
    if is_float32 and not distributed:
        return model
    clone = keras.models.clone_model(model, clone_function=_float32_layer)
    clone.set_weights(model.get_weights())
    return clone


def _float32_layer(layer: Any) -> Any:
    dtype = {"dtype": "float32"} if isinstance(layer, keras.layers.Layer) else {}
    return type(layer).from_config({**layer.get_config(), **dtype})


class _ServedModel(tf.Module):
    """All signatures around one traced network, and the variables that the network reads."""

    def __init__(self, contents: Contents) -> None:
        super().__init__(name="tltool")
        spec = contents.decode
        # Traced once: all signatures call this same function, which halves graph size and time.
        self.detector = _with_variable(contents.detector)
        model = float32_model(contents.model)
        network = _traced(contents, model, self.detector)
        self.read_variables = list(network.graph.variables)
        pixels = tf.TensorSpec((None, None, None, 3), tf.float32, "images")

        def predict(images: tf.Tensor) -> dict[str, tf.Tensor]:
            outputs = network(images)
            return {
                **class_outputs(
                    outputs["probabilities"], contents.class_names, top_k=contents.top_k
                ),
                **(ood_outputs(outputs["ood_score"]) if "ood_score" in outputs else {}),
            }

        @tf.function(input_signature=[pixels], autograph=False)
        def from_images(images: tf.Tensor) -> dict[str, tf.Tensor]:
            return predict(to_model_size(images, spec))

        encoded = tf.TensorSpec([None], tf.string, "image_bytes")

        @tf.function(input_signature=[encoded], autograph=False)
        def from_bytes(image_bytes: tf.Tensor) -> dict[str, tf.Tensor]:
            images, ok = decode_batch(image_bytes, spec)
            return mask_undecoded(predict(images), ok)

        @tf.function(input_signature=[encoded], autograph=False)
        def features(image_bytes: tf.Tensor) -> dict[str, tf.Tensor]:
            images, ok = decode_batch(image_bytes, spec)
            pooled = network(images)["features"]
            return {
                "features": tf.where(ok[:, tf.newaxis], pooled, tf.zeros_like(pooled)),
                "ok": tf.identity(ok),
            }

        signatures = {BYTES_SIGNATURE: from_bytes, IMAGES_SIGNATURE: from_images}
        if contents.embed is not None:
            signatures[FEATURES_SIGNATURE] = features
        if contents.attend is not None:
            heat = HeatMap(contents.attend(model), model.output)
            signatures |= explain_signatures(network, heat, spec)
        # assigned complete: TensorFlow does not save a dictionary that grew after assignment
        self.signatures_by_name = signatures


def _with_variable(detector: OutlierDetector | None) -> OutlierDetector | None:
    """Return ``detector`` with its matrix as a variable: as a constant it could take 17 MB."""
    if detector is None:
        return None
    return replace(detector, whitening=tf.Variable(detector.whitening, trainable=False))


def _traced(contents: Contents, model: keras.Model, detector: OutlierDetector | None) -> Any:
    """Return the function of images to ``probabilities``, ``features``, ``ood_score``, ``map``."""
    joint = _joint(model, features=contents.embed, map=contents.attend)
    pixels = tf.TensorSpec((None, *joint.input_shape[1:]), tf.float32, "images")

    @tf.function(input_signature=[pixels], autograph=False)
    def network(images: tf.Tensor) -> dict[str, tf.Tensor]:
        tensors = {
            name: tf.cast(x, tf.float32) for name, x in joint(images, training=False).items()
        }
        outputs = {"probabilities": tf.nn.softmax(tensors["logits"] / contents.temperature)}
        if "features" in tensors:
            outputs["features"] = _pooled(tensors["features"])
        if "map" in tensors:
            outputs["map"] = tensors["map"]
        if detector is not None:
            outputs["ood_score"] = detector.tensor_scores(outputs["features"])
        return outputs

    return network.get_concrete_function()


def logits_and_features(model: keras.Model, embed: Embed | None) -> keras.Model:
    """Return a model of images to ``logits`` and, with ``embed``, ``features``."""
    return _joint(model, features=embed)


def _joint(model: keras.Model, **selectors: Embed | None) -> keras.Model:
    outputs = {name: select(model) for name, select in selectors.items() if select is not None}
    return keras.Model(model.input, {"logits": model.output, **outputs})


def _pooled(features: tf.Tensor) -> tf.Tensor:
    return tf.reduce_mean(features, axis=(1, 2)) if features.shape.rank == 4 else features


def _write(module: _ServedModel, folder: Path, documents: Mapping[str, bytes]) -> None:
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent) as sources:  # on the disk of the export
        # as attributes, the assets stay with the model if it is saved again
        module.documents = []
        for name, document in documents.items():
            path = Path(sources) / name
            path.write_bytes(document)
            module.documents.append(tf.saved_model.Asset(str(path)))
        tf.saved_model.save(module, str(folder), signatures=module.signatures_by_name)


def check_shapes(contents: Contents) -> None:
    """Check that model, class names, decode spec and detector match.

    Raises:
        ValueError: they do not.
    """
    model, decode = contents.model, contents.decode
    size = (decode.height, decode.width, 3)
    if tuple(model.input_shape[1:]) != size or model.output_shape[-1] != len(contents.class_names):
        raise ValueError(
            f"model {model.input_shape} to {model.output_shape}, images {size} and "
            f"{len(contents.class_names)} class names do not match"
        )
    if contents.detector is not None and contents.embed is None:
        raise ValueError("a detector needs features, and embed is None")
