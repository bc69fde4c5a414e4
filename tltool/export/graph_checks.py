"""What an exported graph must never hold: an op that draws random numbers."""

from __future__ import annotations

import re
from pathlib import Path

from tensorflow.core.protobuf import saved_model_pb2

from tltool.errors import GateError

RANDOM_OP = re.compile(
    r"Random|Multinomial|Bernoulli|Dropout|TruncatedNormal|StatefulUniform|StatefulStandardNormal"
    r"|SampleDistortedBoundingBox|Shuffle(?!Net)|Rng"
)
HINT = "an augmentation layer is inside the model: move it out, and train or load the model again"


def check_no_random_op(saved_model: Path) -> None:
    """Refuse a SavedModel in which any function holds an op that draws random numbers.

    Raises:
        GateError: names the ops.
    """
    document = saved_model_pb2.SavedModel()
    document.ParseFromString((saved_model / "saved_model.pb").read_bytes())
    found = sorted(
        {
            node.op
            for meta in document.meta_graphs
            for nodes in (
                meta.graph_def.node,
                *(f.node_def for f in meta.graph_def.library.function),
            )
            for node in nodes
            if RANDOM_OP.search(node.op)
        }
    )
    if found:
        raise GateError(f"The exported graph draws random numbers ({', '.join(found)}).", hint=HINT)
