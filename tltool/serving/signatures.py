"""Inputs and outputs of the signatures of a SavedModel, read from its file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tensorflow as tf
from tensorflow.core.framework import types_pb2
from tensorflow.core.protobuf import saved_model_pb2

DEFAULT_SIGNATURE = "serving_default"
_SERVE_TAG = "serve"


@dataclass(frozen=True)
class TensorInfo:
    """One input or output.

    Attributes:
        name: of the tensor in the graph.
        dtype: name in TensorFlow's protocol, such as DT_STRING.
        shape: -1 for an unknown size; None for an unknown rank.
    """

    name: str
    dtype: str
    shape: tuple[int, ...] | None

    @property
    def is_string(self) -> bool:
        """Whether it contains bytes."""
        return self.dtype == "DT_STRING"

    @property
    def has_batch(self) -> bool:
        """Whether its first size is unknown: a batch dimension."""
        return bool(self.shape) and self.shape is not None and self.shape[0] == -1

    def numpy_dtype(self) -> Any:
        """Return the NumPy dtype; object for strings."""
        return tf.dtypes.as_dtype(types_pb2.DataType.Value(self.dtype)).as_numpy_dtype

    def to_json(self) -> dict[str, Any]:
        """Return the format of ``/metadata``."""
        sizes = [{"size": str(size), "name": ""} for size in self.shape or ()]
        shape = {"dim": sizes, "unknown_rank": self.shape is None}
        return {"dtype": self.dtype, "tensor_shape": shape, "name": self.name}


@dataclass(frozen=True)
class Signature:
    """A signature: named inputs to named outputs."""

    name: str
    inputs: Mapping[str, TensorInfo]
    outputs: Mapping[str, TensorInfo]
    method: str

    @property
    def can_batch(self) -> bool:
        """Whether the items of several requests can run as one batch."""
        return all(info.has_batch for info in (*self.inputs.values(), *self.outputs.values()))

    @property
    def interface(self) -> list[dict[str, tuple[str, tuple[int, ...] | None]]]:
        """Type and shape of the inputs and of the outputs, by name."""
        return [
            {name: (info.dtype, info.shape) for name, info in tensors.items()}
            for tensors in (self.inputs, self.outputs)
        ]

    def to_json(self) -> dict[str, Any]:
        """Return the format of ``/metadata``."""
        return {
            "inputs": {name: info.to_json() for name, info in self.inputs.items()},
            "outputs": {name: info.to_json() for name, info in self.outputs.items()},
            "method_name": self.method,
            "defaults": {},
        }


def read_signatures(model_file: Path) -> dict[str, Signature]:
    """Return the signatures by name of a ``saved_model.pb``.

    Raises:
        OSError: it cannot be read.
        ValueError: it is no SavedModel.
    """
    document = saved_model_pb2.SavedModel()
    try:
        document.ParseFromString(model_file.read_bytes())
    except OSError:
        raise
    except Exception as error:  # protobuf's error class differs between its versions
        raise ValueError("saved_model.pb is damaged") from error
    graphs = [one for one in document.meta_graphs if _SERVE_TAG in one.meta_info_def.tags]
    if not graphs:
        raise ValueError("saved_model.pb has no graph to serve")
    definitions = graphs[0].signature_def
    return {
        name: _signature(name, definitions[name])
        for name in sorted(definitions)
        if not name.startswith("__")
    }


def _signature(name: str, definition: Any) -> Signature:
    return Signature(
        name=name,
        inputs={key: _tensor(definition.inputs[key]) for key in sorted(definition.inputs)},
        outputs={key: _tensor(definition.outputs[key]) for key in sorted(definition.outputs)},
        method=definition.method_name,
    )


def _tensor(info: Any) -> TensorInfo:
    shape = info.tensor_shape
    sizes = None if shape.unknown_rank else tuple(int(dim.size) for dim in shape.dim)
    return TensorInfo(info.name, types_pb2.DataType.Name(info.dtype), sizes)
