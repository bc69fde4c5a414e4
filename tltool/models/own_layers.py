"""Copy the layers of a model into another graph, layer by layer: models inside it are unfolded."""

from __future__ import annotations

from typing import Any

import keras

from tltool.models.heads import HEAD_PREFIX

_RESERVED = ("images", "pooled", "features")  # names of layers around a backbone
_FLOAT_POLICIES = ("float32", "mixed_float16", "mixed_bfloat16")
_SCALING = (keras.layers.Rescaling, keras.layers.Normalization)
_AUGMENTATION: Any = tuple(
    layer for name, layer in vars(keras.layers).items()
    if name.startswith("Random") and isinstance(layer, type)
)  # fmt: skip


class SharedLayerError(ValueError):
    """A layer with weights is used at several places; the argument is its name."""


def copied_output(model: keras.Model, images: Any, *, weights: bool) -> Any:
    """Return the output of a copy of ``model`` on ``images``, as one flat graph.

    Layers of the copy are trainable and follow the current dtype policy. Augmentation, which acts
    in training only, is left out. A name that exists already gets that of its model in front.

    Args:
        model: functional or sequential, with one input.
        images: symbolic tensor [B, H, W, C].
        weights: whether the copy gets the weights of the model.

    Raises:
        SharedLayerError: a layer with weights is used several times.
        ValueError: the model cannot take images of this size.
    """
    before = keras.Model(keras.utils.get_source_inputs(images), images)
    names = {operation.name for operation in before.operations}
    output = _Copy({*names, *_RESERVED}, weights=weights).run(model, [images])
    if output is not output._keras_history.operation.output:  # one of several outputs of a layer
        output = keras.layers.Identity(name="features")(output)
    return output


class _Copy:
    def __init__(self, names: set[str], *, weights: bool) -> None:
        self._weights = weights
        self._names = names
        self._done: set[int] = set()

    def run(self, model: Any, inputs: Any) -> Any:
        """Return the outputs of a copy of ``model``."""
        functional: Any = keras.Model(model.inputs, model.outputs)
        name = str(model.name)

        def call(operation: Any, *args: Any, **kwargs: Any) -> Any:
            return self._call(operation, name, args, kwargs)

        # what keras.models.clone_model calls; that would make new inputs
        outputs = keras.tree.flatten(functional._run_through_graph(inputs, call_fn=call))
        return outputs[0] if len(outputs) == 1 else outputs

    def _call(self, operation: Any, inside: str, args: Any, kwargs: Any) -> Any:
        kwargs = {k: v for k, v in kwargs.items() if k != "training" and v is not None}
        if isinstance(operation, keras.Model):
            return self.run(operation, keras.tree.flatten(args))
        if isinstance(operation, _AUGMENTATION):
            return keras.layers.Identity(name=self._name(operation.name, inside))(*args)
        copy = self._copy(operation, inside)
        outputs = copy(*args, **kwargs)
        if not isinstance(copy, keras.layers.Layer) and keras.ops.is_tensor(outputs):
            # only the output of a layer ends a stage
            return keras.layers.Identity(name=self._name(f"{operation.name}_out", inside))(outputs)
        if getattr(operation, "weights", None):
            self._set_weights(copy, operation)
        return outputs

    def _copy(self, operation: Any, inside: str) -> Any:
        if id(operation) in self._done and getattr(operation, "weights", None):
            raise SharedLayerError(operation.name)
        self._done.add(id(operation))
        config = {**operation.get_config(), "name": self._name(operation.name, inside)}
        if isinstance(operation, keras.layers.Layer):
            config["trainable"] = not isinstance(operation, keras.layers.Normalization)
            if isinstance(operation, _SCALING):
                config["dtype"] = "float32"
            elif operation.dtype_policy.name in _FLOAT_POLICIES:
                config.pop("dtype", None)
        return type(operation).from_config(config)

    def _name(self, name: str, inside: str) -> str:
        """Return a name that no other layer has."""
        if name.startswith(HEAD_PREFIX):  # by which the new classifier is recognised
            name = f"body_{name}"
        if name in self._names:
            name = f"{inside}_{name}"
        unique, number = name, 1
        while unique in self._names:
            number += 1
            unique = f"{name}_{number}"
        self._names.add(unique)
        return unique

    def _set_weights(self, copy: keras.layers.Layer, original: keras.layers.Layer) -> None:
        if [one.shape for one in copy.weights] != [one.shape for one in original.weights]:
            raise ValueError(f"the weights of layer '{original.name}' depend on the image size")
        if not self._weights:
            return
        copy.set_weights(original.get_weights())
        if isinstance(copy, keras.layers.Normalization):
            copy.finalize_state()
