"""Check that an exported graph contains no op that draws random numbers."""

from __future__ import annotations

import re
from pathlib import Path

from tensorflow.core.protobuf import saved_model_pb2

from tltool.errors import GateError

RANDOM_OP = re.compile(
    r"Random|Multinomial|Bernoulli|Dropout|TruncatedNormal|StatefulUniform|StatefulStandardNormal"
    r"|SampleDistortedBoundingBox|Shuffle(?!Net)|Rng"
)
HINT = "remove the augmentation layer from the model, and train or load the model again"


def check_no_random_op(saved_model: Path) -> None:
    """Check that no function of a SavedModel contains an op that draws random numbers.

    Raises:
        GateError: one does; the message lists the ops.
    """
    document = saved_model_pb2.SavedModel()
    document.ParseFromString((saved_model / "saved_model.pb").read_bytes())
    random_ops = sorted(
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
    if random_ops:
        raise GateError(
            f"the exported graph draws random numbers ({', '.join(random_ops)})", hint=HINT
        )
