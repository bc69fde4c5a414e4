"""Metadata and labels inside a LiteRT file, with which MediaPipe Tasks and ML Kit open it.

The format: https://ai.google.dev/edge/litert/libraries/metadata and its metadata_schema.fbs. The
metadata is a FlatBuffer inside the model; the labels are a zip archive after the end of the model.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import flatbuffers

LABELS_FILE = "labels.txt"
_NAME = b"TFLITE_METADATA"
_METADATA_IDENTIFIER, _MODEL_IDENTIFIER = b"M001", b"TFL3"
_MIN_PARSER_VERSION = "1.0.0"
_ALIGNMENT = 16  # bytes, of the weights: force_align in schema.fbs
_LARGEST_PIXEL = 255.0
# values of enumerations and unions in metadata_schema.fbs
_RGB = 1
_TENSOR_AXIS_LABELS = 2
_FEATURE_PROPERTIES, _IMAGE_PROPERTIES = 1, 2
_NORMALIZATION_OPTIONS = 1


@dataclass(frozen=True)
class LitertDescription:
    """What the metadata says about a model.

    Attributes:
        name: of the model.
        class_names: in the order of the probabilities.
        height: of the images.
        width: of the images.
        licence: of the model; empty if unknown.
        integers: whether the model takes pixels and returns probabilities as 8-bit integers.
    """

    name: str
    class_names: Sequence[str]
    height: int
    width: int
    licence: str = ""
    integers: bool = False


def with_metadata(model: bytes, description: LitertDescription) -> bytes:
    """Return a LiteRT model with metadata and labels; its graph and weights are unchanged.

    Args:
        model: a FlatBuffer with one input of images and one output of probabilities.
        description: what to write.
    """
    from ai_edge_litert import schema_py_generated as schema

    class AlignedBuffer(schema.BufferT):
        """A buffer whose data are aligned, which the generated class does not do."""

        def Pack(self, builder: flatbuffers.Builder) -> Any:  # noqa: N802 - a generated name
            data = None if self.data is None else _aligned_bytes(builder, bytes(self.data))
            schema.BufferStart(builder)
            if data is not None:
                schema.BufferAddData(builder, data)
            return schema.BufferEnd(builder)

    tree = schema.ModelT.InitFromPackedBuf(model, 0)
    content = schema.BufferT()
    content.data = _metadata(description)
    tree.buffers = [_copy(one, AlignedBuffer()) for one in [*tree.buffers, content]]
    entry = schema.MetadataT()
    entry.name, entry.buffer = _NAME, len(tree.buffers) - 1
    tree.metadata = [*(tree.metadata or []), entry]
    builder = flatbuffers.Builder(len(model))
    builder.Finish(tree.Pack(builder), _MODEL_IDENTIFIER)
    return _with_labels(bytes(builder.Output()), description.class_names)


def _copy(source: Any, target: Any) -> Any:
    target.data = source.data
    return target


def _aligned_bytes(builder: flatbuffers.Builder, content: bytes) -> Any:
    builder.StartVector(1, len(content), _ALIGNMENT)
    builder.head -= len(content)
    builder.Bytes[builder.head : builder.head + len(content)] = content
    return builder.EndVector()


def _with_labels(model: bytes, class_names: Sequence[str]) -> bytes:
    """Return ``model`` followed by a zip archive with one class name per line."""
    buffer = io.BytesIO(model)
    text = "".join(f"{' '.join(name.split())}\n" for name in class_names)
    with zipfile.ZipFile(buffer, "a", zipfile.ZIP_STORED) as archive:  # MediaPipe wants no deflate
        archive.writestr(zipfile.ZipInfo(LABELS_FILE), text.encode())
    return buffer.getvalue()


class _Writer:
    """Writes tables of a FlatBuffer whose fields are given by their number in the schema."""

    def __init__(self) -> None:
        self.builder = flatbuffers.Builder(1024)

    def string(self, text: str) -> int:
        """Write a string; return its offset."""
        return int(self.builder.CreateString(text))

    def floats(self, values: Sequence[float]) -> int:
        """Write a vector of floats; return its offset."""
        self.builder.StartVector(4, len(values), 4)
        for value in reversed(values):
            self.builder.PrependFloat32(value)
        return int(self.builder.EndVector())

    def offsets(self, *tables: int) -> int:
        """Write a vector of tables; return its offset."""
        self.builder.StartVector(4, len(tables), 4)
        for table in reversed(tables):
            self.builder.PrependUOffsetTRelative(table)
        return int(self.builder.EndVector())

    def table(
        self,
        offsets: dict[int, int] | None = None,
        *,
        bytes_: dict[int, int] | None = None,
        uints: dict[int, int] | None = None,
    ) -> int:
        """Write a table; return its offset.

        Args:
            offsets: strings, vectors and tables by the number of the field.
            bytes_: enumerations and types of unions.
            uints: 32-bit numbers.
        """
        numbers = [*(offsets or {}), *(bytes_ or {}), *(uints or {})]
        self.builder.StartObject(max(numbers, default=-1) + 1)
        for number, offset in (offsets or {}).items():
            self.builder.PrependUOffsetTRelativeSlot(number, offset, 0)
        for number, value in (uints or {}).items():
            self.builder.PrependUint32Slot(number, value, 0)
        for number, value in (bytes_ or {}).items():
            self.builder.PrependByteSlot(number, value, 0)
        return int(self.builder.EndObject())


def _metadata(description: LitertDescription) -> bytes:
    """Return the FlatBuffer ModelMetadata."""
    writer = _Writer()
    subgraph = writer.table(
        {
            2: writer.offsets(_image_tensor(writer, description)),
            3: writer.offsets(_probability_tensor(writer)),
        }
    )
    names = {0: writer.string(description.name)}
    if description.licence:
        names[5] = writer.string(description.licence)
    summary = f"Image classifier with {len(description.class_names)} classes, exported by tltool"
    names[1] = writer.string(summary)
    names[7] = writer.string(_MIN_PARSER_VERSION)
    model = writer.table({**names, 3: writer.offsets(subgraph)})
    writer.builder.Finish(model, _METADATA_IDENTIFIER)
    return bytes(writer.builder.Output())


def _image_tensor(writer: _Writer, description: LitertDescription) -> int:
    """Write TensorMetadata of the input: RGB pixels in 0…255, which the model normalizes itself."""
    size = writer.table(uints={0: description.width, 1: description.height})
    properties = writer.table({1: size}, bytes_={0: _RGB})
    content = writer.table({1: properties}, bytes_={0: _IMAGE_PROPERTIES})
    fields = {
        0: writer.string("images"),
        1: writer.string("RGB pixels in 0…255"),
        3: content,
        5: writer.table({0: writer.floats([_LARGEST_PIXEL]), 1: writer.floats([0.0])}),
    }
    if not description.integers:
        options = writer.table({0: writer.floats([0.0]), 1: writer.floats([1.0])})
        unit = writer.table({1: options}, bytes_={0: _NORMALIZATION_OPTIONS})
        fields[4] = writer.offsets(unit)
    return writer.table(fields)


def _probability_tensor(writer: _Writer) -> int:
    """Write TensorMetadata of the output: one probability per class, with the labels."""
    labels = writer.table(
        {0: writer.string(LABELS_FILE), 1: writer.string("class names")},
        bytes_={2: _TENSOR_AXIS_LABELS},
    )
    content = writer.table({1: writer.table()}, bytes_={0: _FEATURE_PROPERTIES})
    return writer.table(
        {
            0: writer.string("probabilities"),
            1: writer.string("calibrated probability of each class"),
            3: content,
            5: writer.table({0: writer.floats([1.0]), 1: writer.floats([0.0])}),
            6: writer.offsets(labels),
        }
    )
