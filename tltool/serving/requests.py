"""Parse TensorFlow Serving's predict requests: JSON in row or column format to arrays."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tltool.serving.api_errors import bad_request
from tltool.serving.json_values import (
    Arrays,
    count_rows,
    is_base64,
    parse_json,
    shown,
    to_array,
)
from tltool.serving.signatures import DEFAULT_SIGNATURE, Signature

_PARAMETERS = ("signature_name", "top")


@dataclass(frozen=True)
class PredictRequest:
    """A parsed predict request.

    Attributes:
        signature: to run.
        inputs: arrays by name; strings as object arrays of bytes.
        rows: number of items; 0 if the signature has no batch dimension.
        by_row: whether the response is in row format.
        top: how many of the most probable classes to return; None for as many as the export has.
        decoded: bytes that decoding each large image takes, 0 for the others; empty if all are 0.
    """

    signature: Signature
    inputs: Arrays
    rows: int
    by_row: bool
    top: int | None = None
    decoded: tuple[int, ...] = ()


def parse_predict_request(body: bytes, signatures: Mapping[str, Signature]) -> PredictRequest:
    """Parse the JSON ``body`` of a predict request.

    Vertex AI forwards only ``instances`` and ``parameters`` of a request, so that the signature can
    be given in ``parameters`` too.

    Raises:
        ApiError: it is no JSON, does not match the signature, or has an unknown parameter.
    """
    document = parse_json(body)
    parameters = _parameters(document)
    signature = _select_signature({**parameters, **document}, signatures)
    if "instances" in document and "inputs" in document:
        raise bad_request(
            "Not formatted correctly expecting only one of 'inputs' or 'instances' keys to exist"
        )
    if "instances" in document:
        inputs = _from_rows(document["instances"], signature)
    elif "inputs" in document:
        inputs = _from_columns(document["inputs"], signature)
    else:
        raise bad_request("Missing 'inputs' or 'instances' key")
    rows = count_rows(inputs, signature)
    top = read_top(parameters.get("top"), signature)
    return PredictRequest(signature, inputs, rows, by_row="instances" in document, top=top)


def _parameters(document: Mapping[str, Any]) -> Mapping[str, Any]:
    parameters = document.get("parameters")
    if parameters is None:
        return {}
    if not isinstance(parameters, dict):
        raise bad_request("'parameters' must be an object")
    for name in sorted(parameters.keys() - set(_PARAMETERS)):
        raise bad_request(
            f"There is no parameter '{shown(name)}'; the parameters are {', '.join(_PARAMETERS)}"
        )
    return parameters


def read_top(value: Any, signature: Signature) -> int | None:
    """Return the parameter ``top``: how many of the most probable classes to return.

    Raises:
        ApiError: it is no positive integer, or ``signature`` does not return them.
    """
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise bad_request(f"The parameter 'top' must be a positive integer, not {shown(value)}")
    if not {"probabilities", "top_class_names", "top_probabilities"} <= set(signature.outputs):
        raise bad_request(
            f"The parameter 'top' needs top_class_names, which the signature {signature.name} lacks"
        )
    return value


def _select_signature(
    document: Mapping[str, Any], signatures: Mapping[str, Signature]
) -> Signature:
    name = document.get("signature_name", DEFAULT_SIGNATURE)
    if not isinstance(name, str):
        raise bad_request("'signature_name' key must be a string value.")
    signature = signatures.get(name or DEFAULT_SIGNATURE)
    if signature is None:
        raise bad_request(f'Serving signature name: "{shown(name)}" not found in signature def')
    return signature


def _from_rows(instances: Any, signature: Signature) -> Arrays:
    if not isinstance(instances, list):
        raise bad_request("Excepting 'instances' to be an list/array")
    if not instances:
        raise bad_request("No values in 'instances' array")
    names = set(signature.inputs)
    if all(isinstance(row, dict) and not is_base64(row) for row in instances):
        for row in instances:
            _check_names(set(row), names)
        columns = {name: [row[name] for row in instances] for name in signature.inputs}
    elif len(names) == 1:
        columns = {name: instances for name in names}
    else:
        raise bad_request(
            f"instances is a plain list, but expecting list of objects as multiple input tensors "
            f"required as per tensorinfo_map: {', '.join(sorted(names))}"
        )
    return _arrays(columns, signature)


def _from_columns(inputs: Any, signature: Signature) -> Arrays:
    names = set(signature.inputs)
    if isinstance(inputs, dict) and not is_base64(inputs):
        _check_names(set(inputs), names)
        return _arrays(inputs, signature)
    if len(names) != 1:
        raise bad_request(
            "inputs is a plain value/list, but expecting an object as multiple input tensors "
            f"required as per tensorinfo_map: {', '.join(sorted(names))}"
        )
    return _arrays({name: inputs for name in names}, signature)


def _check_names(received: set[str], names: set[str]) -> None:
    for name in sorted(received - names):
        raise bad_request(f"JSON object: does not have named input: {shown(name)}")
    for name in sorted(names - received):
        raise bad_request(f"Missing named input: {name}")


def _arrays(columns: Mapping[str, Any], signature: Signature) -> Arrays:
    return {
        name: to_array(columns[name], name=name, info=info)
        for name, info in signature.inputs.items()
    }
