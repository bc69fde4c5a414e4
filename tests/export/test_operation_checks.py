"""A SavedModel of someone else is held against the list of operations before it is loaded."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2

from tltool.errors import DataError, GateError
from tltool.export.exported_model import load_exported
from tltool.export.open_saved_model import load_saved_model
from tltool.export.operation_checks import check_operations
from tltool.export.seal import SEAL_FILE, write_seal

IMAGES = [tf.TensorSpec([None], tf.string, "image_bytes")]
SECRET = "secret.txt"


class Model(tf.Module):
    """A model with one signature, which does ``harm`` for every batch."""

    def __init__(self, harm: Callable[[], object]) -> None:
        super().__init__()

        @tf.function(input_signature=IMAGES, autograph=False)
        def serve(image_bytes: tf.Tensor) -> dict[str, tf.Tensor]:
            result = harm()
            control = [result] if isinstance(result, tf.Operation | tf.Tensor) else []
            with tf.control_dependencies(control):
                return {"probabilities": tf.ones([tf.size(image_bytes), 2]) / 2}

        self.serve = serve


def write_file() -> object:
    return tf.io.write_file("owned.txt", "x")


def read_file() -> object:
    return tf.io.read_file(SECRET)


def list_files() -> object:
    return tf.io.matching_files("*")


def print_text() -> object:
    return tf.raw_ops.PrintV2(input="x", output_stream="file://owned.txt")


def python_code() -> object:
    return tf.numpy_function(lambda: 1.0, [], tf.float64)


def text_lines() -> object:
    return tf.raw_ops.TextLineDataset(filenames=SECRET, compression_type="", buffer_size=10)


def mapped_memory() -> object:
    return tf.raw_ops.ImmutableConst(dtype=tf.uint8, shape=[1], memory_region_name=SECRET)


def table_of_file() -> object:
    table = tf.raw_ops.HashTableV2(key_dtype=tf.string, value_dtype=tf.int64)
    return tf.raw_ops.InitializeTableFromTextFileV2(
        table_handle=table, filename=SECRET, key_index=-2, value_index=-1, vocab_size=1
    )


def saved_variables() -> object:
    return tf.raw_ops.SaveV2(
        prefix="owned", tensor_names=["a"], shape_and_slices=[""], tensors=[tf.constant(1.0)]
    )


def restored_variables() -> object:
    return tf.raw_ops.RestoreV2(
        prefix=SECRET, tensor_names=["a"], shape_and_slices=[""], dtypes=[tf.float32]
    )[0]


def inside_a_branch() -> object:
    return tf.cond(tf.constant(True), lambda: tf.io.read_file(SECRET), lambda: tf.constant(""))


def inside_a_loop() -> object:
    return tf.while_loop(lambda n: n < 1, lambda n: (_step(n),), [tf.constant(0)])[0]


def _step(number: tf.Tensor) -> tf.Tensor:
    with tf.control_dependencies([tf.io.write_file("owned.txt", "x")]):
        return number + 1


def inside_a_data_set() -> object:
    files = tf.data.Dataset.from_tensors(SECRET).map(tf.io.read_file)
    return tf.raw_ops.DatasetToSingleElement(
        dataset=files._variant_tensor, output_types=[tf.string], output_shapes=[[]]
    )[0]


ATTACKS = {
    write_file: "WriteFile",
    read_file: "ReadFile",
    list_files: "MatchingFiles",
    print_text: "PrintV2",
    python_code: "PyFunc",
    text_lines: "TextLineDataset",
    mapped_memory: "ImmutableConst",
    table_of_file: "InitializeTableFromTextFileV2",
    saved_variables: "SaveV2",
    restored_variables: "RestoreV2",
    inside_a_branch: "ReadFile",
    inside_a_loop: "WriteFile",
    inside_a_data_set: "ReadFile",
}


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / SECRET).write_text("secret")
    return tmp_path


@pytest.mark.parametrize("attack", ATTACKS)
def test_an_operation_that_does_more_than_compute_is_refused_by_name(attack, here):
    model = Model(attack)
    tf.saved_model.save(model, "model", signatures=model.serve)
    before = sorted(here.iterdir())
    with pytest.raises(DataError, match=f"not allowed: .*{ATTACKS[attack]}") as caught:
        load_saved_model(Path("model"))
    assert caught.value.hint is not None and "--trust" in caught.value.hint
    assert sorted(here.iterdir()) == before


class WithInitializer(tf.Module):
    """A model whose resource writes a file when the model is loaded."""

    def __init__(self) -> None:
        super().__init__()
        self.table = tf.lookup.StaticHashTable(
            tf.lookup.TextFileInitializer(
                SECRET,
                tf.string,
                tf.lookup.TextFileIndex.WHOLE_LINE,
                tf.int64,
                tf.lookup.TextFileIndex.LINE_NUMBER,
            ),
            -1,
        )

    @tf.function(input_signature=IMAGES, autograph=False)
    def serve(self, image_bytes: tf.Tensor) -> tf.Tensor:
        return self.table.lookup(image_bytes)


def test_an_initializer_that_reads_a_file_is_refused_and_trust_loads_it(here):
    tf.saved_model.save(WithInitializer(), "model")
    with pytest.raises(DataError, match="not allowed: InitializeTableFromTextFileV2"):
        load_saved_model(Path("model"))
    loaded = load_saved_model(Path("model"), trust=True)
    assert loaded.serve(tf.constant(["secret"])).numpy().tolist() == [0]


def changed(folder: Path, change: Callable[[saved_model_pb2.SavedModel], object]) -> Path:
    """Change the graph of an export and write its seal anew, as an attacker would."""
    path = folder / "saved_model.pb"
    document = saved_model_pb2.SavedModel()
    document.ParseFromString(path.read_bytes())
    change(document)
    path.write_bytes(document.SerializeToString())
    (folder / SEAL_FILE).unlink()
    write_seal(folder, {"format": "saved_model"})
    return folder


def named_like_an_operation(document: saved_model_pb2.SavedModel) -> None:
    library = document.meta_graphs[0].graph_def.library
    library.function.add().signature.name = "WriteFile"
    document.meta_graphs[0].graph_def.node.add(name="write", op="WriteFile")


def saver_is_called(document: saved_model_pb2.SavedModel) -> None:
    graph = document.meta_graphs[0].graph_def
    saver = next(f for f in graph.library.function if any(n.op == "SaveV2" for n in f.node_def))
    caller = next(f for f in graph.library.function if "signature_wrapper" in f.signature.name)
    node = caller.node_def.add(name="again", op="PartitionedCall")
    node.attr["f"].func.name = saver.signature.name


def unused_function(document: saved_model_pb2.SavedModel) -> None:
    function = document.meta_graphs[0].graph_def.library.function.add()
    function.signature.name = "__inference_unused"
    function.node_def.add(name="read", op="ReadFile")


def in_the_main_graph(document: saved_model_pb2.SavedModel) -> None:
    document.meta_graphs[0].graph_def.node.add(name="read", op="ReadFile")


def in_another_graph(document: saved_model_pb2.SavedModel) -> None:
    graph = document.meta_graphs.add()
    graph.meta_info_def.tags.append("train")
    graph.graph_def.node.add(name="read", op="ReadFile")


def unknown_operation(document: saved_model_pb2.SavedModel) -> None:
    document.meta_graphs[0].graph_def.node.add(name="own", op="Loaded\x1b[31mFromLibrary")


def endless_constant(document: saved_model_pb2.SavedModel) -> None:
    node = document.meta_graphs[0].graph_def.node.add(name="zeros", op="Const")
    tensor = node.attr["value"].tensor
    tensor.dtype = 1
    tensor.tensor_shape.dim.add(size=1 << 40)
    tensor.float_val.append(0)


CHANGES = {
    named_like_an_operation: "not allowed: WriteFile",
    saver_is_called: "not allowed: .*SaveV2",
    unused_function: "not allowed: ReadFile",
    in_the_main_graph: "not allowed: ReadFile",
    in_another_graph: "not allowed: ReadFile",
    unknown_operation: r"not allowed: Loaded\\x1b\[31mFromLibrary",
    endless_constant: "constants of 4,398,046,511",
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_changed_export_with_a_seal_of_its_own_is_refused(change, exported, tmp_path):
    folder = changed(Path(shutil.copytree(exported, tmp_path / "1")), change)
    with pytest.raises(DataError, match=CHANGES[change]):
        load_exported(folder)


@pytest.mark.parametrize("content", [b"", b"\x00", b"\xff" * 100, b"\x12\xff\xff\xff\xff\x0f"])
def test_a_damaged_graph_is_an_error_of_the_file(content, tmp_path):
    (tmp_path / "saved_model.pb").write_bytes(content)
    try:
        check_operations(tmp_path)
    except DataError as error:
        assert "damaged" in error.message
    with pytest.raises(DataError, match="damaged"):
        load_saved_model(tmp_path)


def test_an_export_of_tltool_passes_and_changed_assets_do_not(exported, tmp_path):
    folder = Path(shutil.copytree(exported, tmp_path / "1"))
    (folder / "assets" / ".DS_Store").write_bytes(b"of a file manager")
    assert load_exported(folder).can_explain
    (folder / "assets" / "more.json").write_text("{}")
    with pytest.raises(GateError, match=r"assets/more\.json was added"):
        load_exported(folder)
    (folder / "assets" / "more.json").unlink()
    path = folder / "assets" / "class_names.json"
    names = json.loads(path.read_text("utf-8"))
    path.write_text(json.dumps(names[::-1]), "utf-8")
    with pytest.raises(GateError, match=r"class_names\.json has changed since the export"):
        load_exported(folder)
    assert load_exported(folder, trust=True).class_names == tuple(names[::-1])
    (folder / SEAL_FILE).unlink()
    with pytest.raises(DataError, match=r"manifest\.json is missing"):
        load_exported(folder)
