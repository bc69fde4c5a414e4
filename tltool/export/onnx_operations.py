"""Operations of TensorFlow that tf2onnx does not know."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np


@functools.cache
def register_erfc() -> None:
    """Let tf2onnx convert erfc(x), which Keras' gelu contains, as 1 - erf(x)."""
    from tf2onnx import utils
    from tf2onnx.handler import tf_op

    def version_9(_cls: type, /, ctx: Any, node: Any, **_: Any) -> None:
        shapes, dtypes = node.output_shapes, node.output_dtypes
        erf = ctx.make_node("Erf", node.input, shapes=shapes, dtypes=dtypes)
        one = ctx.make_const(utils.make_name("one"), np.ones((), np.float32))
        ctx.remove_node(node.name)
        ctx.make_node(
            "Sub",
            [one.output[0], erf.output[0]],
            name=node.name,
            outputs=node.output,
            shapes=shapes,
            dtypes=dtypes,
        )

    tf_op("Erfc")(type("Erfc", (), {"version_9": classmethod(version_9)}))
