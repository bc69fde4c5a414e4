"""Models of others: SavedModels that do more than compute, changed exports and runs, Keras files.

An attack is held if the command ends with an error, without the effect that the model was made for.
"""

from __future__ import annotations

import io
import json
import os
import shutil
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2

from benchmarks.attack_kinds.malformed import Case, make_run, try_command
from benchmarks.attack_kinds.outcome import Outcome
from tltool.export.seal import SEAL_FILE, write_seal

KIND = "2 models are programs"
SECRET, OWNED = "secret.txt", "owned.txt"
raw = tf.raw_ops
_IMAGES = [tf.TensorSpec([None], tf.string, "image_bytes")]


def attacks(folder: Path) -> Iterator[Outcome]:
    """Give each malicious model to the commands that load models."""
    here = Path.cwd()
    os.chdir(folder)
    (folder / SECRET).write_text("secret")
    try:
        photos, run, export = make_run(folder)
        image = photos / "red/0.png"
        yield from _operations(export, image)
        yield from _changed_exports(export, photos, image)
        yield from _changed_runs(run, photos, image)
        yield from _keras_files(run, image)
    finally:
        os.chdir(here)


# what a graph should not do; the first argument is a tensor of text
OPERATIONS: dict[str, Callable[[], object]] = {
    "WriteFile": lambda: tf.io.write_file(OWNED, "x"),
    "ReadFile": lambda: tf.io.read_file(SECRET),
    "MatchingFiles": lambda: tf.io.matching_files("*"),
    "PrintV2": lambda: raw.PrintV2(input="x", output_stream=f"file://{OWNED}"),
    "Print": lambda: raw.Print(input=tf.constant(1), data=[tf.constant(1)]),
    "EagerPyFunc": lambda: tf.py_function(lambda: 1.0, [], tf.float64),
    "PyFunc": lambda: tf.numpy_function(lambda: 1.0, [], tf.float64),
    "SaveV2": lambda: raw.SaveV2(
        prefix=OWNED, tensor_names=["a"], shape_and_slices=[""], tensors=[tf.constant(1.0)]
    ),
    "RestoreV2": lambda: raw.RestoreV2(
        prefix=SECRET, tensor_names=["a"], shape_and_slices=[""], dtypes=[tf.float32]
    ),
    "Save": lambda: raw.Save(filename=OWNED, tensor_names=["a"], data=[tf.constant(1.0)]),
    "Restore": lambda: raw.Restore(file_pattern=SECRET, tensor_name="a", dt=tf.float32),
    "MergeV2Checkpoints": lambda: raw.MergeV2Checkpoints(
        checkpoint_prefixes=[SECRET], destination_prefix=OWNED
    ),
    "ImmutableConst": lambda: raw.ImmutableConst(
        dtype=tf.uint8, shape=[1], memory_region_name=SECRET
    ),
    "TextLineDataset": lambda: raw.TextLineDataset(
        filenames=SECRET, compression_type="", buffer_size=1
    ),
    "TFRecordDataset": lambda: raw.TFRecordDataset(
        filenames=SECRET, compression_type="", buffer_size=1
    ),
    "FixedLengthRecordDatasetV2": lambda: raw.FixedLengthRecordDatasetV2(
        filenames=SECRET,
        header_bytes=tf.constant(0, tf.int64),
        record_bytes=tf.constant(1, tf.int64),
        footer_bytes=tf.constant(0, tf.int64),
        buffer_size=tf.constant(1, tf.int64),
        compression_type="",
    ),
    "TextLineReaderV2": lambda: raw.TextLineReaderV2(),
    "WholeFileReaderV2": lambda: raw.WholeFileReaderV2(),
    "CreateSummaryFileWriter": lambda: raw.CreateSummaryFileWriter(
        writer=raw.SummaryWriter(),
        logdir=OWNED,
        max_queue=1,
        flush_millis=1,
        filename_suffix="x",
    ),
    "InitializeTableFromTextFileV2": lambda: raw.InitializeTableFromTextFileV2(
        table_handle=raw.HashTableV2(key_dtype=tf.string, value_dtype=tf.int64),
        filename=SECRET,
        key_index=-2,
        value_index=-1,
        vocab_size=1,
    ),
    "in a branch": lambda: tf.cond(
        tf.constant(True), lambda: tf.io.read_file(SECRET), lambda: tf.constant("")
    ),
    "in a data set": lambda: (
        tf.data.Dataset.from_tensors(SECRET).map(tf.io.read_file)._variant_tensor
    ),
    "RandomUniform": lambda: tf.random.uniform([1]),
}


def _operations(export: Path, image: Path) -> Iterator[Outcome]:
    for name, harm in OPERATIONS.items():
        copy = Path(shutil.copytree(export, f"with-{name.replace(' ', '-')}"))
        version = copy / "1"
        for path in ("saved_model.pb", "fingerprint.pb"):
            (version / path).unlink()
        shutil.rmtree(version / "variables")
        model = _harmful(harm)
        tf.saved_model.save(model, "model", signatures=model.serve)
        shutil.copytree("model", version, dirs_exist_ok=True)
        shutil.rmtree("model")
        _seal(version)
        yield _refused(f"{name} at the first image", Case("", image, ("predict", copy, image)))
        shutil.rmtree(copy)


def _harmful(harm: Callable[[], object]) -> tf.Module:
    class Model(tf.Module):
        @tf.function(input_signature=_IMAGES, autograph=False)
        def serve(self, image_bytes: tf.Tensor) -> dict[str, tf.Tensor]:
            done = harm()
            with tf.control_dependencies([done] if hasattr(done, "op") else []):
                count = tf.size(image_bytes)
            return {"probabilities": tf.ones([count, 2]) / 2, "ok": tf.fill([count], True)}

    return Model()


def _refused(attack: str, case: Case) -> Outcome:
    held, figure = try_command(case)
    held &= not figure.startswith("0 ") and not Path(OWNED).exists()
    Path(OWNED).unlink(missing_ok=True)
    return Outcome(KIND, attack, held, figure)


def _seal(version: Path) -> None:
    (version / SEAL_FILE).unlink(missing_ok=True)
    write_seal(version, {"format": "saved_model"})


def _read_file_node(document: Any) -> None:
    document.meta_graphs[0].graph_def.node.add(name="read", op="ReadFile")


def _unused_function(document: Any) -> None:
    function = document.meta_graphs[0].graph_def.library.function.add()
    function.signature.name = "__inference_unused"
    function.node_def.add(name="write", op="WriteFile")


def _second_graph(document: Any) -> None:
    graph = document.meta_graphs.add()
    graph.meta_info_def.tags.append("serve")
    graph.graph_def.node.add(name="read", op="ReadFile")


def _function_named_like_an_operation(document: Any) -> None:
    document.meta_graphs[0].graph_def.library.function.add().signature.name = "WriteFile"
    document.meta_graphs[0].graph_def.node.add(name="write", op="WriteFile")


def _calls_the_saver(document: Any) -> None:
    graph = document.meta_graphs[0].graph_def
    saver = next(f for f in graph.library.function if any(n.op == "SaveV2" for n in f.node_def))
    caller = next(f for f in graph.library.function if f != saver)
    node = caller.node_def.add(name="again", op="PartitionedCall")
    node.attr["f"].func.name = saver.signature.name


def _unknown_operation(document: Any) -> None:
    document.meta_graphs[0].graph_def.node.add(name="own", op="OfALibrary")


def _huge_constant(document: Any) -> None:
    node = document.meta_graphs[0].graph_def.node.add(name="zeros", op="Const")
    node.attr["value"].tensor.dtype = 1
    node.attr["value"].tensor.tensor_shape.dim.add(size=1 << 38)
    node.attr["value"].tensor.float_val.append(0)


GRAPHS = (
    _read_file_node,
    _unused_function,
    _second_graph,
    _function_named_like_an_operation,
    _calls_the_saver,
    _unknown_operation,
    _huge_constant,
)


def _changed_exports(export: Path, photos: Path, image: Path) -> Iterator[Outcome]:
    """Change an export with and without a new seal, and give it to every command."""
    commands = {
        "predict": ("predict", export, image),
        "evaluate": ("evaluate", export, photos),
        "explain": ("explain", export, image, "--out", "out"),
        "export --check": ("export", "--check", export),
    }
    path = export / "1/saved_model.pb"
    original, seal = path.read_bytes(), (export / "1" / SEAL_FILE).read_bytes()
    for number, change in enumerate(GRAPHS):
        document = saved_model_pb2.SavedModel()
        document.ParseFromString(original)
        change(document)
        path.write_bytes(document.SerializeToString())
        _seal(export / "1")
        for name in commands if number < 2 else ("predict",):
            attack = f"{change.__name__.strip('_').replace('_', ' ')}, {name}"
            yield _refused(attack, Case("", path, commands[name]))
    path.write_bytes(original)
    (export / "1" / SEAL_FILE).write_bytes(seal)
    for file in ("assets/class_names.json", "assets/calibration.npz", "assets/decode.json"):
        target = export / "1" / file
        content = target.read_bytes()
        target.write_bytes(content.replace(b"red", b"der") + b" ")
        for name, command in commands.items():
            yield _refused(f"changed {file}, {name}", Case("", target, command))
        target.write_bytes(content)
    (export / "1" / SEAL_FILE).unlink()
    yield _refused("seal removed, predict", Case("", path, commands["predict"]))
    (export / "1" / SEAL_FILE).write_bytes(seal)
    (export / "1/added.so").write_bytes(b"x")
    yield _refused("file added, predict", Case("", path, commands["predict"]))
    (export / "1/added.so").unlink()


def _changed_runs(run: Path, photos: Path, image: Path) -> Iterator[Outcome]:
    for name in ("artifact.json", "calibration.npz", "model.keras"):
        path = run / name
        content = path.read_bytes()
        path.write_bytes(content.replace(b'"red"', b'"der"') + b" ")
        for command in (("predict", run, image), ("explain", run, image, "--out", "out")):
            yield _refused(f"changed {name} of a run, {command[0]}", Case("", path, command))
        path.write_bytes(content)
    packed = run.parent / "packed.tar.gz"
    for attack, change in PACKED.items():
        changed = run.parent / "changed.tar.gz"
        with tarfile.open(packed) as old, tarfile.open(changed, "w:gz") as new:
            for member in old.getmembers():
                content = old.extractfile(member).read()
                change(new, member, content)
        reproduce = ("runs", "reproduce", changed, "--data", photos, "--offline")
        yield _refused(f"packed run: {attack}", Case("", changed, reproduce))


def _add(tar: tarfile.TarFile, member: tarfile.TarInfo, content: bytes) -> None:
    member.size = len(content)
    tar.addfile(member, io.BytesIO(content))


def _swap_classes(tar: tarfile.TarFile, member: tarfile.TarInfo, content: bytes) -> None:
    _add(tar, member, content.replace(b'"red"', b'"der"') if "artifact" in member.name else content)


def _change_recipe(tar: tarfile.TarFile, member: tarfile.TarInfo, content: bytes) -> None:
    _add(tar, member, content + b"\n# x\n" if member.name == "recipe.yaml" else content)


def _leave_out(tar: tarfile.TarFile, member: tarfile.TarInfo, content: bytes) -> None:
    if member.name != "metrics.json":
        _add(tar, member, content)


def _add_file(tar: tarfile.TarFile, member: tarfile.TarInfo, content: bytes) -> None:
    _add(tar, member, content)
    if member.name == "recipe.yaml":
        _add(tar, tarfile.TarInfo("sitecustomize.py"), b"x")


def _outside(tar: tarfile.TarFile, member: tarfile.TarInfo, content: bytes) -> None:
    _add(tar, member, content)
    if member.name == "recipe.yaml":
        _add(tar, tarfile.TarInfo(f"../{OWNED}"), b"x")


def _link(tar: tarfile.TarFile, member: tarfile.TarInfo, content: bytes) -> None:
    if member.name != "metrics.json":
        _add(tar, member, content)
        return
    member.type, member.linkname, member.size = tarfile.SYMTYPE, "/etc/passwd", 0
    tar.addfile(member)


PACKED = {
    "class names changed": _swap_classes,
    "recipe changed": _change_recipe,
    "a file left out": _leave_out,
    "a file added": _add_file,
    "a path outside": _outside,
    "a symbolic link": _link,
}


def _keras_files(run: Path, image: Path) -> Iterator[Outcome]:
    """Replace the network of a run; its seal is written anew, as an attacker would."""
    path = run / "model.keras"
    content = path.read_bytes()
    with zipfile.ZipFile(path) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    config = json.loads(parts["config.json"])
    for attack, layer in LAYERS.items():
        changed = json.loads(json.dumps(config))
        last = changed["config"]["layers"][-1]
        last.update({key: value for key, value in layer.items() if key != "config"})
        last["config"].update(layer.get("config", {}))
        with zipfile.ZipFile(path, "w") as archive:
            for name, part in parts.items():
                is_config = name == "config.json"
                archive.writestr(name, json.dumps(changed).encode() if is_config else part)
        predict = ("predict", run, image, "--trust")
        yield _refused(f"Keras layer: {attack}", Case("", path, predict))
    path.write_bytes(content)


_CODE = ["4wAAAAAAAAAAAAAAAAEAAAABAAAAQwAAAPMEAAAAZAFTAA==", None, None]
LAYERS: dict[str, dict[str, object]] = {
    "Lambda": {
        "class_name": "Lambda",
        "module": "keras.layers",
        "config": {"function": {"class_name": "__lambda__", "config": {"value": _CODE}}},
    },
    "TFSMLayer": {
        "class_name": "TFSMLayer",
        "module": "keras.layers",
        "config": {"filepath": "exports"},
    },
    "StringLookup of a file": {
        "class_name": "StringLookup",
        "module": "keras.layers",
        "config": {"vocabulary": SECRET},
    },
    "TorchModuleWrapper": {"class_name": "TorchModuleWrapper", "module": "keras.layers"},
    "a function of os": {"class_name": "system", "module": "os", "registered_name": None},
    "get_file": {"class_name": "get_file", "module": "keras.utils", "registered_name": None},
    "40 million units": {"config": {"units": 40_000_000}},
    "a list of units": {"config": {"units": [2]}},
}
