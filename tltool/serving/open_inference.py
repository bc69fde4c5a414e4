"""The Open Inference Protocol (V2), REST: parse its inference requests.

The protocol: https://github.com/kserve/open-inference-protocol (inference_rest.yaml). Binary
tensors are Triton's extension "binary_tensor_data": the JSON text is followed by their bytes,
https://github.com/triton-inference-server/server/blob/main/docs/protocol/extension_binary_data.md.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from tltool.serving.api_errors import bad_request
from tltool.serving.binary_tensors import tensor_from_bytes
from tltool.serving.json_values import (
    Arrays,
    count_rows,
    fits_shape,
    flatten,
    parse_json,
    shown,
    typed_array,
)
from tltool.serving.requests import PredictRequest, read_top
from tltool.serving.served_model import IMAGE_INPUT, ServedModel
from tltool.serving.signatures import DEFAULT_SIGNATURE, Signature, TensorInfo

EXTENSIONS = ("binary_tensor_data",)
HEADER_LENGTH = "Inference-Header-Content-Length"
_IMAGES_SIGNATURE = "images"
_DATATYPES = {
    "DT_BOOL": "BOOL",
    "DT_STRING": "BYTES",
    "DT_HALF": "FP16",
    "DT_BFLOAT16": "BF16",
    "DT_FLOAT": "FP32",
    "DT_DOUBLE": "FP64",
} | {f"DT_{kind}{bits}": f"{kind}{bits}" for kind in ("INT", "UINT") for bits in (8, 16, 32, 64)}
_PARAMETERS = {"signature_name", "top", "binary_data_output"}
_UNSUPPORTED = ("shared_memory_region", "classification")  # other extensions of Triton


@dataclass(frozen=True)
class InferRequest:
    """A parsed inference request.

    Attributes:
        request: for the model.
        id: of the request, which the response repeats; None without one.
        outputs: whether each requested output is returned as a binary tensor, by name.
    """

    request: PredictRequest
    id: str | None
    outputs: Mapping[str, bool]


def model_metadata(model: ServedModel) -> dict[str, Any]:
    """Return the metadata of a model: the names, datatypes and shapes of its tensors.

    The inputs are those of the signature for image files, ``image_bytes``, and of the signature for
    pixels, ``images``; a request has one of them.
    """
    default = model.signatures.get(DEFAULT_SIGNATURE) or next(iter(model.signatures.values()))
    inputs = dict(default.inputs)
    if IMAGE_INPUT in inputs and _IMAGES_SIGNATURE in model.signatures:
        inputs |= model.signatures[_IMAGES_SIGNATURE].inputs
    return {
        "name": model.name,
        "versions": [str(model.version)],
        "platform": "tensorflow_savedmodel",
        "inputs": [_describe(name, info) for name, info in inputs.items()],
        "outputs": [_describe(name, info) for name, info in default.outputs.items()],
    }


def _describe(name: str, info: TensorInfo) -> dict[str, Any]:
    shape = [-1] if info.shape is None else list(info.shape)
    return {"name": name, "datatype": datatype(info), "shape": shape}


def datatype(info: TensorInfo) -> str:
    """Return the protocol's name of a dtype, such as FP32."""
    return _DATATYPES.get(info.dtype, info.dtype.removeprefix("DT_"))


def parse_infer_request(
    body: bytes, header_length: str | None, signatures: Mapping[str, Signature]
) -> InferRequest:
    """Parse an inference request.

    The signature is that of the parameter ``signature_name``, or the one that takes the inputs of
    the request, ``serving_default`` first. The elements of ``image_bytes`` and of every tensor with
    the parameter ``content_type: base64`` are base64 if they are in the JSON text, which cannot
    contain the bytes of an image file.

    Args:
        body: JSON, followed by binary tensors.
        header_length: the header ``Inference-Header-Content-Length``: the bytes of the JSON text.
        signatures: of the model.

    Raises:
        ApiError: the request is invalid, or does not match a signature.
    """
    length = _json_length(header_length, len(body))
    document = parse_json(body[:length])
    tensors = _objects(document, "inputs")
    if not tensors:
        raise bad_request("The request has no inputs")
    parameters = _object(document, "parameters")
    for name in sorted(parameters.keys() - _PARAMETERS):
        raise bad_request(
            f"There is no parameter '{shown(name)}'; "
            f"the parameters are {', '.join(sorted(_PARAMETERS))}"
        )
    signature = _select_signature(tensors, parameters.get("signature_name"), signatures)
    inputs = _read_tensors(tensors, signature, memoryview(body)[length:])
    top = read_top(parameters.get("top"), signature)
    rows = count_rows(inputs, signature)
    binary = parameters.get("binary_data_output") is True
    request_id = document.get("id")
    return InferRequest(
        PredictRequest(signature, inputs, rows, by_row=False, top=top),
        request_id if isinstance(request_id, str) else None,
        _requested_outputs(document, signature, binary=binary),
    )


def _json_length(header_length: str | None, body_length: int) -> int:
    if header_length is None:
        return body_length
    text = header_length.strip()
    if not (text.isascii() and text.isdigit() and len(text) < 19 and int(text) <= body_length):
        raise bad_request(
            f"{HEADER_LENGTH} must be the number of bytes of the JSON text, at most those of the "
            "request"
        )
    return int(text)


def _objects(document: Mapping[str, Any], key: str) -> list[dict[str, Any]]:
    """Return the list of named tensors at ``key``; empty without one."""
    tensors = document.get(key)
    if tensors is None:
        return []
    if not isinstance(tensors, list) or not all(isinstance(one, dict) for one in tensors):
        raise bad_request(f"'{key}' must be a list of objects")
    names = [one.get("name") for one in tensors]
    if not all(isinstance(name, str) for name in names):
        raise bad_request(f"Each of the '{key}' must have a name")
    if len(set(names)) < len(names):
        raise bad_request(f"The names of the '{key}' must differ")
    return tensors


def _object(document: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    value = document.get(key)
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise bad_request(f"'{key}' must be an object")
    return value


def _select_signature(
    tensors: Sequence[Mapping[str, Any]], name: Any, signatures: Mapping[str, Signature]
) -> Signature:
    received = {one["name"] for one in tensors}
    if name is not None:
        signature = signatures.get(name) if isinstance(name, str) else None
        if signature is None:
            known = ", ".join(sorted(signatures))
            raise bad_request(f"There is no signature '{shown(name)}'; there are {known}")
        candidates = [signature]
    else:
        candidates = sorted(signatures.values(), key=lambda one: one.name != DEFAULT_SIGNATURE)
    for signature in candidates:
        if set(signature.inputs) == received:
            return signature
    takes = "; ".join(f"{one.name} takes {', '.join(sorted(one.inputs))}" for one in candidates)
    names = shown(", ".join(sorted(received)))
    raise bad_request(f"No signature takes the inputs '{names}': {takes}")


def _read_tensors(
    tensors: Sequence[Mapping[str, Any]], signature: Signature, binary: memoryview
) -> Arrays:
    inputs: Arrays = {}
    start = 0
    for one in tensors:
        name = one["name"]
        info = signature.inputs[name]
        shape = _check_tensor(one, info)
        parameters = _object(one, "parameters")
        size = parameters.get("binary_data_size")
        if size is None:
            content_type = "base64" if name == IMAGE_INPUT else parameters.get("content_type")
            inputs[name] = _from_json(one, info, shape, base64=content_type == "base64")
            continue
        if not _is_count(size) or size > len(binary) - start:
            raise bad_request(f"Input {name}: binary_data_size is not the size of its bytes")
        content = binary[start : start + size]
        inputs[name] = tensor_from_bytes(content, name, info, shape)
        start += size
    if start < len(binary):
        raise bad_request(f"The request has {len(binary) - start} bytes more than its tensors")
    return inputs


def _check_tensor(tensor: Mapping[str, Any], info: TensorInfo) -> tuple[int, ...]:
    """Return the shape of an input."""
    name = tensor["name"]
    for parameter in _UNSUPPORTED:
        if parameter in _object(tensor, "parameters"):
            raise bad_request(f"Input {name}: the parameter {parameter} is not supported")
    expected = datatype(info)
    if tensor.get("datatype") != expected:
        received = shown(tensor.get("datatype"))
        raise bad_request(f"Input {name}: the datatype must be {expected}, not {received}")
    shape = tensor.get("shape")
    if not isinstance(shape, list) or not all(_is_count(size) for size in shape):
        raise bad_request(f"Input {name}: the shape must be a list of sizes")
    if info.shape is not None and not fits_shape(tuple(shape), info.shape):
        raise bad_request(
            f"Input {name}: the shape must be {list(info.shape)}, where -1 is any size, "
            f"not {shown(shape)}"
        )
    return tuple(shape)


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**40


def _from_json(
    tensor: Mapping[str, Any], info: TensorInfo, shape: tuple[int, ...], *, base64: bool
) -> NDArray[Any]:
    """Return the array of a tensor whose values are in the JSON text, nested or flat."""
    name = tensor["name"]
    if not isinstance(tensor.get("data"), list):
        raise bad_request(f"Input {name}: 'data' must be a list")
    nested, values = flatten(tensor["data"])
    count = math.prod(shape)
    if len(values) != count or (len(nested) > 1 and tuple(nested) != shape):
        raise bad_request(
            f"Input {name}: 'data' has {len(values)} values, its shape {shown(list(shape))} "
            f"has {count}"
        )
    if info.is_string and base64:
        values = [{"b64": one} if isinstance(one, str) else one for one in values]
    return typed_array(values, name, info).reshape(shape)


def _requested_outputs(
    document: Mapping[str, Any], signature: Signature, *, binary: bool
) -> dict[str, bool]:
    """Return whether each requested output is binary; all outputs if none is requested."""
    requested = _objects(document, "outputs")
    if not requested:
        return dict.fromkeys(signature.outputs, binary)
    outputs: dict[str, bool] = {}
    for one in requested:
        name, parameters = one["name"], _object(one, "parameters")
        if name not in signature.outputs:
            known = ", ".join(signature.outputs)
            raise bad_request(f"There is no output '{shown(name)}'; the outputs are {known}")
        for parameter in _UNSUPPORTED:
            if parameter in parameters:
                raise bad_request(f"Output {name}: the parameter {parameter} is not supported")
        outputs[name] = parameters.get("binary_data", binary) is True
    return outputs
