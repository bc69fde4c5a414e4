"""An image classifier of tltool as MLflow loads it; needs TensorFlow and pandas, not tltool.

MLflow's format: https://mlflow.org/docs/latest/ml/model/. This file is copied into the model.
"""

from __future__ import annotations

import base64
import binascii
from pathlib import Path
from typing import Any

INPUT = "image_bytes"


class Classifier:
    """Image files to classes.

    Args:
        folder: of the SavedModel.
    """

    def __init__(self, folder: str) -> None:
        import tensorflow as tf

        # its functions hold their variables by weak references only
        self._loaded = tf.saved_model.load(folder)
        self._signature = self._loaded.signatures["serving_default"]

    def predict(self, model_input: Any, params: dict[str, Any] | None = None) -> Any:
        """Return one row per image.

        Args:
            model_input: a DataFrame with the column ``image_bytes``: the bytes of image files, or
                base64 text. A dictionary, a Series or a list of them is taken too.
            params: none are known.

        Raises:
            ValueError: the input has another form.
        """
        import pandas as pd
        import tensorflow as tf

        del params
        contents = [_content(one) for one in _column(model_input)]
        outputs = self._signature(image_bytes=tf.constant(contents, tf.string))
        columns = {name: _values(tensor.numpy()) for name, tensor in sorted(outputs.items())}
        return pd.DataFrame(columns)


def _column(model_input: Any) -> list[Any]:
    if hasattr(model_input, "columns") or isinstance(model_input, dict):
        names = [str(name) for name in model_input]
        if INPUT not in names:
            raise ValueError(f"the input has the columns {names}; it needs {INPUT}")
        model_input = model_input[INPUT]
    return [model_input] if isinstance(model_input, bytes | str) else list(model_input)


def _content(value: Any) -> bytes:
    if isinstance(value, str):
        try:
            return base64.b64decode(value, validate=True)
        except binascii.Error:
            raise ValueError(f"{INPUT} must be the bytes of an image file or base64") from None
    return bytes(value)


def _values(array: Any) -> list[Any]:
    """Return one value per image; text as str."""
    return [_decoded(row) for row in array.tolist()]


def _decoded(value: Any) -> Any:
    if isinstance(value, list):
        return [_decoded(one) for one in value]
    return value.decode() if isinstance(value, bytes) else value


def _load_pyfunc(path: str) -> Classifier:
    """Return the model in ``path``; MLflow calls this."""
    return Classifier(str(Path(path)))
