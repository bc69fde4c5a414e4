"""Hold the graph of a SavedModel against the list of allowed operations, without loading it.

A SavedModel is a program: TensorFlow runs its initialisers when it is loaded and its functions for
every image, and has operations that read and write any file. See
https://github.com/tensorflow/tensorflow/blob/master/SECURITY.md
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from tensorflow.core.protobuf import saved_model_pb2
from tensorflow.python.framework import dtypes, op_def_registry

from tltool.errors import DataError, one_line, some_of
from tltool.export.allowed_ops import ALLOWED_OPS, CHECKPOINT_OPS
from tltool.export.model_folder import SAVED_MODEL_FILE

TRUST_HINT = "it may be malicious; if you made it yourself, load it with --trust"
_MOST_EXPANDED = 64 << 20  # bytes of constants that the file only describes, such as zeros


def check_operations(folder: Path) -> None:
    """Check that every operation of the SavedModel in ``folder`` only computes.

    Args:
        folder: of the SavedModel.

    Raises:
        DataError: the graph is damaged, or contains an operation that is not allowed, or constants
            that are far larger than the file.
    """
    try:
        document = saved_model_pb2.SavedModel()
        document.ParseFromString((folder / SAVED_MODEL_FILE).read_bytes())
        refused = sorted({op for graph in document.meta_graphs for op in _refused(graph)})
        constants = sum(map(_expanded, _all_nodes(document)))
    except Exception:  # protobuf's error class differs between its versions
        raise DataError(
            f"the SavedModel '{folder}' is damaged and cannot be loaded: {SAVED_MODEL_FILE} is no "
            "SavedModel",
            hint="export it again, or restore the folder from a copy",
        ) from None
    if refused:
        names = some_of([one_line(op) for op in refused])
        raise DataError(
            f"the SavedModel '{folder}' contains operations that are not allowed: {names}",
            hint=TRUST_HINT,
        )
    if constants > _MOST_EXPANDED:
        raise DataError(
            f"the SavedModel '{folder}' has constants of {constants:,} bytes that are not in its "
            "file",
            hint=TRUST_HINT,
        )


def _refused(graph: Any) -> Iterator[str]:
    """Yield the operations of a graph and its functions that are not allowed where they are."""
    functions = {one.signature.name: one.node_def for one in graph.graph_def.library.function}
    saver = {
        name.partition(":")[0]
        for name in (graph.saver_def.save_tensor_name, graph.saver_def.restore_op_name)
    }
    nodes = graph.graph_def.node
    for_checkpoints = _reached([node for node in nodes if node.name in saver], functions)
    elsewhere = _reached([node for node in nodes if node.name not in saver], functions)
    elsewhere |= _with_called(_callable_functions(graph), functions)
    # a function may not stand in for an operation: which of the two runs is not defined
    known = ALLOWED_OPS | {name for name in functions if op_def_registry.get(name) is None}
    yield from _operations(nodes) - known
    for name, body in functions.items():
        more = CHECKPOINT_OPS if name in for_checkpoints - elsewhere else frozenset()
        yield from _operations(body) - known - more


def _operations(nodes: Iterable[Any]) -> set[str]:
    return {node.op for node in nodes}


def _callable_functions(graph: Any) -> set[str]:
    """Return the functions that run when the model is loaded, or that a user can call."""
    return set(graph.object_graph_def.concrete_functions)


def _reached(nodes: Iterable[Any], functions: dict[str, Any]) -> set[str]:
    return _with_called({name for node in nodes for name in _called(node, functions)}, functions)


def _with_called(names: set[str], functions: dict[str, Any]) -> set[str]:
    """Return ``names`` and all functions that they call, directly or not."""
    reached: set[str] = set()
    waiting = [name for name in names if name in functions]
    while waiting:
        name = waiting.pop()
        if name not in reached:
            reached.add(name)
            waiting += [other for node in functions[name] for other in _called(node, functions)]
    return reached


def _called(node: Any, functions: dict[str, Any]) -> Iterator[str]:
    """Yield the functions that a node names: its operation, and its attributes."""
    names = [node.op]
    for value in node.attr.values():
        names += [value.func.name, *(one.name for one in value.list.func)]
    yield from (name for name in names if name in functions)


def _all_nodes(document: Any) -> Iterator[Any]:
    for graph in document.meta_graphs:
        yield from graph.graph_def.node
        for function in graph.graph_def.library.function:
            yield from function.node_def


def _expanded(node: Any) -> int:
    """Return the bytes of a constant that are not in the file: all equal, or missing."""
    if node.op != "Const":
        return 0
    tensor = node.attr["value"].tensor
    elements: int = math.prod(max(dim.size, 0) for dim in tensor.tensor_shape.dim)
    claimed: int = elements * dtypes.as_dtype(tensor.dtype).size
    return max(0, claimed - int(tensor.ByteSize()))
