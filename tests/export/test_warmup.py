"""The warm-up requests, read back by protobuf with TensorFlow Serving's own schema."""

from pathlib import Path
from typing import Any

import pytest
import tensorflow as tf
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from tensorflow.core.framework import tensor_pb2

from tltool.export.warmup import WARMUP_FILE, write_warmup

STRING, MESSAGE = 9, 11
ONE, MANY = 1, 3


def message(name: str, *fields: tuple[str, int, int, int, str]) -> descriptor_pb2.DescriptorProto:
    descriptor = descriptor_pb2.DescriptorProto(name=name)
    for field, number, label, kind, type_name in fields:
        extra = {"type_name": type_name} if type_name else {}
        descriptor.field.add(name=field, number=number, label=label, type=kind, **extra)
    return descriptor


@pytest.fixture(name="prediction_log", scope="module")
def _prediction_log() -> Any:
    """Return the message class, from the field numbers of tensorflow_serving/apis/*.proto."""
    pool = descriptor_pool.DescriptorPool()
    for descriptor in tensor_dependencies(tensor_pb2.DESCRIPTOR):
        pool.AddSerializedFile(descriptor.serialized_pb)
    file = descriptor_pb2.FileDescriptorProto(name="serving.proto", package="s", syntax="proto3")
    file.dependency.append(tensor_pb2.DESCRIPTOR.name)
    entry = message(
        "InputsEntry",
        ("key", 1, ONE, STRING, ""),
        ("value", 2, ONE, MESSAGE, ".tensorflow.TensorProto"),
    )
    entry.options.map_entry = True
    request = message(
        "PredictRequest",
        ("model_spec", 1, ONE, MESSAGE, ".s.ModelSpec"),
        ("inputs", 2, MANY, MESSAGE, ".s.PredictRequest.InputsEntry"),
    )
    request.nested_type.add().CopyFrom(entry)
    names = [("name", 1, ONE, STRING, ""), ("signature_name", 3, ONE, STRING, "")]
    file.message_type.extend(
        [
            message("ModelSpec", *names),
            request,
            message("PredictLog", ("request", 1, ONE, MESSAGE, ".s.PredictRequest")),
            message("PredictionLog", ("predict_log", 6, ONE, MESSAGE, ".s.PredictLog")),
        ]
    )
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("s.PredictionLog"))


def tensor_dependencies(file: Any) -> list[Any]:
    """Return ``file`` after all files that it imports."""
    imported: dict[str, Any] = {}
    for dependency in file.dependencies:
        imported |= {one.name: one for one in tensor_dependencies(dependency)}
    return [*imported.values(), file]


def images_of(record: bytes, prediction_log: Any) -> list[bytes]:
    request = prediction_log.FromString(record).predict_log.request
    assert request.model_spec.signature_name == "serving_default"
    assert list(request.inputs) == ["image_bytes"]
    tensor = tensor_pb2.TensorProto.FromString(request.inputs["image_bytes"].SerializeToString())
    images: list[bytes] = tf.make_ndarray(tensor).tolist()
    return images


@pytest.mark.parametrize("images", [[b"one image"], [b"first" * 100, b"", b"\xff\x00" * 9000]])
def test_the_request_reads_back(tmp_path: Path, prediction_log: Any, images: list[bytes]) -> None:
    write_warmup(
        tmp_path, model_name="äpfel", signature="serving_default", batches=[images, images * 8]
    )
    records = list(tf.data.TFRecordDataset(str(tmp_path / WARMUP_FILE)).as_numpy_iterator())
    assert len(records) == 2
    name = prediction_log.FromString(records[0]).predict_log.request.model_spec.name
    assert name == "äpfel"
    assert [images_of(record, prediction_log) for record in records] == [images, images * 8]


def test_an_export_warms_up_with_one_image_and_with_eight(
    exported: Path, prediction_log: Any
) -> None:
    records = tf.data.TFRecordDataset(str(exported / WARMUP_FILE)).as_numpy_iterator()
    batches = [images_of(record, prediction_log) for record in records]
    assert [len(images) for images in batches] == [1, 8]
    served = tf.saved_model.load(str(exported))
    for images in batches:
        outputs = served.signatures["serving_default"](image_bytes=tf.constant(images))
        assert outputs["ok"].numpy().all()
