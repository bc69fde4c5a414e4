"""Write the inference responses of the Open Inference Protocol (V2): JSON and binary tensors."""

from __future__ import annotations

import json
from typing import Any

from numpy.typing import NDArray

from tltool.serving.binary_tensors import tensor_to_bytes
from tltool.serving.json_values import Arrays
from tltool.serving.open_inference import HEADER_LENGTH, InferRequest, datatype
from tltool.serving.responses import flat_values
from tltool.serving.served_model import ServedModel


def write_infer_response(
    outputs: Arrays, infer: InferRequest, model: ServedModel
) -> tuple[bytes, dict[str, str]]:
    """Return the body and the headers of the response to ``infer``.

    Args:
        outputs: of the signature.
        infer: says which of them to return, and how.
        model: that returned them.
    """
    tensors, binary = [], []
    for name, as_bytes in infer.outputs.items():
        kind = datatype(infer.request.signature.outputs[name])
        tensor = {"name": name, "datatype": kind, "shape": list(outputs[name].shape)}
        if as_bytes:
            content = tensor_to_bytes(outputs[name])
            binary.append(content)
            tensors.append({**tensor, "parameters": {"binary_data_size": len(content)}})
        else:
            tensors.append({**tensor, **_json_data(outputs[name])})
    document: dict[str, Any] = {
        "model_name": model.name,
        "model_version": str(model.version),
        "outputs": tensors,
    }
    if infer.id is not None:
        document["id"] = infer.id
    text = json.dumps(document, separators=(",", ":")).encode()
    if not binary:
        return text, {"Content-Type": "application/json"}
    headers = {"Content-Type": "application/octet-stream", HEADER_LENGTH: str(len(text))}
    return b"".join([text, *binary]), headers


def _json_data(array: NDArray[Any]) -> dict[str, Any]:
    """Return the key ``data``: a flat list; of bytes that are no text, base64."""
    values = flat_values(array)
    if any(isinstance(one, dict) for one in values):
        values = flat_values(array, as_base64=True)
        return {"data": values, "parameters": {"content_type": "base64"}}
    return {"data": values}
