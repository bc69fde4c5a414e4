"""Metadata and labels inside LiteRT files, read as MediaPipe Tasks and ML Kit read them."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path
from typing import Any

import flatbuffers
import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from flatbuffers import number_types

from tests.export.tiny_classifier import NAMES, tiny_model
from tltool.export.convert import write_converted
from tltool.export.export_formats import FORMATS
from tltool.export.litert_metadata import LitertDescription, with_metadata
from tltool.export.parity import reference_probabilities

ARRAYS = np.random.default_rng(0).uniform(0, 255, (5, 20, 16, 3)).round().astype(np.float32)


class Table:
    """A table of a FlatBuffer, whose fields are read by their number in metadata_schema.fbs."""

    def __init__(self, content: bytes, position: int | None = None) -> None:
        start = flatbuffers.encode.Get(number_types.UOffsetTFlags.packer_type, content, 0)
        self.table = flatbuffers.table.Table(content, start if position is None else position)
        self.content = content

    def _offset(self, number: int) -> int:
        return self.table.Offset(4 + 2 * number)

    def string(self, number: int) -> str:
        return self.table.String(self._offset(number) + self.table.Pos).decode()

    def child(self, number: int) -> Table:
        return Table(self.content, self.table.Indirect(self._offset(number) + self.table.Pos))

    def children(self, number: int) -> list[Table]:
        offset = self._offset(number)
        if not offset:
            return []
        start = self.table.Vector(offset)
        positions = (start + 4 * i for i in range(self.table.VectorLen(offset)))
        return [Table(self.content, self.table.Indirect(one)) for one in positions]

    def number(self, number: int, flags: Any) -> int:
        return self.table.Get(flags, self._offset(number) + self.table.Pos)

    def floats(self, number: int) -> list[float]:
        offset = self._offset(number)
        start = self.table.Vector(offset)
        return [
            self.table.Get(number_types.Float32Flags, start + 4 * i)
            for i in range(self.table.VectorLen(offset))
        ]


def write(name: str, folder: Path, class_names: list[str] = NAMES) -> bytes:
    path = folder / FORMATS[name].file
    facts = {"name": "tiny", "licence": "CC-BY-4.0"}
    write_converted(
        path,
        FORMATS[name],
        tiny_model(),
        temperature=1.7,
        calibration=ARRAYS,
        class_names=class_names,
        facts=facts,
    )
    return path.read_bytes()


def metadata_of(content: bytes) -> Table:
    model = schema.ModelT.InitFromPackedBuf(content, 0)
    (entry,) = [one for one in model.metadata if one.name == b"TFLITE_METADATA"]
    buffer = bytes(model.buffers[entry.buffer].data)
    assert buffer[4:8] == b"M001"
    return Table(buffer)


@pytest.mark.parametrize("name", ["litert", "litert-fp16", "litert-int8"])
def test_the_metadata_describe_input_and_output(tmp_path, name):
    model = metadata_of(write(name, tmp_path))
    assert (model.string(0), model.string(5), model.string(7)) == ("tiny", "CC-BY-4.0", "1.0.0")
    (subgraph,) = model.children(3)
    (images,), (probabilities,) = subgraph.children(2), subgraph.children(3)
    assert (images.string(0), probabilities.string(0)) == ("images", "probabilities")
    content = images.child(3)
    assert content.number(0, number_types.Uint8Flags) == 2  # ImageProperties
    assert content.child(1).number(0, number_types.Int8Flags) == 1  # RGB
    size = content.child(1).child(1)
    assert [size.number(i, number_types.Uint32Flags) for i in (0, 1)] == [16, 20]
    units = [unit.child(1) for unit in images.children(4)]
    # the preprocessing is inside the model: (pixel - 0) / 1
    expected = [] if name == "litert-int8" else [([0.0], [1.0])]
    assert [(unit.floats(0), unit.floats(1)) for unit in units] == expected
    (labels,) = probabilities.children(6)
    assert labels.string(0) == "labels.txt"
    assert labels.number(2, number_types.Int8Flags) == 2  # TENSOR_AXIS_LABELS


def test_the_labels_are_an_archive_after_the_model(tmp_path):
    content = write("litert", tmp_path, ["ants", "two\nlines", "köttbullar 寿司"])
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        (info,) = archive.infolist()
        assert info.compress_type == zipfile.ZIP_STORED
        assert archive.read("labels.txt").decode() == "ants\ntwo lines\nköttbullar 寿司\n"


@pytest.mark.parametrize("name", ["litert", "litert-int8"])
def test_graph_and_weights_are_those_of_the_converter(tmp_path, name):
    from ai_edge_litert.interpreter import Interpreter

    plain = tmp_path / "plain.tflite"
    write_converted(plain, FORMATS[name], tiny_model(), temperature=1.7, calibration=ARRAYS)
    inputs = ARRAYS if name == "litert" else ARRAYS.astype(np.uint8)
    results = []
    for content in (plain.read_bytes(), write(name, tmp_path)):
        runner = Interpreter(model_content=content).get_signature_runner()
        results.append(runner(images=inputs)["probabilities"])
    np.testing.assert_array_equal(*results)


def test_the_weights_are_aligned(tmp_path):
    content = write("litert", tmp_path)
    model = schema.Model.GetRootAsModel(content, 0)
    filled = [model.Buffers(i) for i in range(model.BuffersLength())]
    starts = [one._tab.Vector(one._tab.Offset(4)) for one in filled if one.DataLength()]
    assert len(starts) > 3
    assert not [start for start in starts if start % 16]


def test_a_thousand_classes():
    names = [f"class {number}" for number in range(1000)]
    bare = schema.ModelT()
    bare.buffers = [schema.BufferT()]
    builder = flatbuffers.Builder(64)
    builder.Finish(bare.Pack(builder), b"TFL3")
    description = LitertDescription("many", names, 8, 8)
    described = with_metadata(bytes(builder.Output()), description)
    assert described == with_metadata(bytes(builder.Output()), description)
    with zipfile.ZipFile(io.BytesIO(described)) as archive:
        assert archive.read("labels.txt").decode().splitlines() == names
    assert "1000 classes" in metadata_of(described).string(1)


@pytest.mark.parametrize(
    ("name", "tolerance"), [("litert", 1e-5), ("litert-fp16", 1e-3), ("litert-int8", 0.03)]
)
def test_the_image_classifier_of_mediapipe(tmp_path, name, tolerance):
    vision = pytest.importorskip("mediapipe.tasks.python.vision")
    import mediapipe

    content = write(name, tmp_path)
    base = mediapipe.tasks.BaseOptions(model_asset_buffer=content)
    expected = reference_probabilities(tiny_model(), ARRAYS, temperature=1.7)
    options = vision.ImageClassifierOptions(base_options=base)
    with vision.ImageClassifier.create_from_options(options) as classifier:
        for array, row in zip(ARRAYS.astype(np.uint8), expected, strict=True):
            image = mediapipe.Image(image_format=mediapipe.ImageFormat.SRGB, data=array)
            (head,) = classifier.classify(image).classifications
            scores = {one.category_name: one.score for one in head.categories}
            assert scores == pytest.approx(dict(zip(NAMES, row, strict=True)), abs=tolerance)
