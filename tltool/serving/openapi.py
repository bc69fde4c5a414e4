"""The OpenAPI description of each route."""

from __future__ import annotations

from typing import Any

from fastapi import Response

_ERROR_SCHEMA = {
    "type": "object",
    "properties": {"error": {"type": "string"}},
    "required": ["error"],
}


def _error(description: str) -> dict[str, Any]:
    return {
        "description": description,
        "content": {"application/json": {"schema": _ERROR_SCHEMA}},
    }


ERRORS: dict[int | str, dict[str, Any]] = {
    400: _error("The request is invalid."),
    404: _error("There is no such model or version."),
    405: _error("The route does not support this HTTP method."),
    408: _error("The request took too long to arrive."),
    413: _error("The request, an image in it or its number of items is too large."),
    415: _error("The encoding or the format of the request is not supported."),
    501: _error("The model does not support this."),
    503: _error("Busy, or no version is ready; Retry-After gives the seconds to wait."),
}

_JSON_BODY = {
    "required": True,
    "content": {
        "application/json": {
            "schema": {
                "type": "object",
                "properties": {
                    "signature_name": {"type": "string"},
                    "instances": {"type": "array", "minItems": 1, "items": {}},
                    "inputs": {},
                    "parameters": {
                        "type": "object",
                        "properties": {
                            "signature_name": {"type": "string"},
                            "top": {"type": "integer", "minimum": 1},
                        },
                    },
                },
            },
            "example": {"instances": [{"image_bytes": {"b64": "..."}}]},
        }
    },
}
_IMAGE_BODY = {
    "required": True,
    "content": {
        "multipart/form-data": {
            "schema": {
                "type": "object",
                "properties": {
                    "image": {
                        "type": "array",
                        "items": {"type": "string", "format": "binary"},
                    }
                },
                "required": ["image"],
            }
        },
        "image/*": {"schema": {"type": "string", "format": "binary"}},
        "application/octet-stream": {"schema": {"type": "string", "format": "binary"}},
    },
}

MODELS: dict[str, Any] = {
    "summary": "The served model: name, version, classes",
    "tags": ["models"],
    "responses": {503: ERRORS[503]},
}
STATUS: dict[str, Any] = {"summary": "Status of the versions", "tags": ["models"]}
METADATA: dict[str, Any] = {"summary": "Signatures of the model", "tags": ["models"]}
PREDICT: dict[str, Any] = {
    "summary": "Run a signature, in row format (instances) or column format (inputs)",
    "tags": ["models"],
    "openapi_extra": {"requestBody": _JSON_BODY},
}
CLASSIFY: dict[str, Any] = {
    "summary": "Classify images: a form with files, or the bytes of one image",
    "tags": ["images"],
    "openapi_extra": {"requestBody": _IMAGE_BODY},
}
CLASS = "The class to explain; by default the predicted class."
EXPLAIN: dict[str, Any] = {
    "summary": "Heat map of the evidence for a class: a form with one file, or the image bytes",
    "tags": ["images"],
    "openapi_extra": {"requestBody": _IMAGE_BODY},
    "response_class": Response,
    "responses": {**ERRORS, 200: {"content": {"image/png": {}}}},
}
HEALTH: dict[str, Any] = {"summary": "Liveness", "tags": ["monitoring"]}
READY: dict[str, Any] = {
    "summary": "Readiness for requests",
    "tags": ["monitoring"],
    "responses": {503: ERRORS[503]},
}
STATISTICS: dict[str, Any] = {
    "summary": "Classes, OOD share and drift of the answers, and the second model",
    "tags": ["monitoring"],
}
METRICS: dict[str, Any] = {
    "summary": "Metrics for Prometheus",
    "tags": ["monitoring"],
    "responses": {200: {"content": {"text/plain": {}}}},
}
_TENSOR = {
    "type": "object",
    "required": ["name", "shape", "datatype"],
    "properties": {
        "name": {"type": "string"},
        "shape": {"type": "array", "items": {"type": "integer", "minimum": 0}},
        "datatype": {"type": "string"},
        "parameters": {"type": "object"},
        "data": {"type": "array", "items": {}},
    },
}
_INFER_BODY = {
    "required": True,
    "content": {
        "application/json": {
            "schema": {
                "type": "object",
                "required": ["inputs"],
                "properties": {
                    "id": {"type": "string"},
                    "parameters": {"type": "object"},
                    "inputs": {"type": "array", "minItems": 1, "items": _TENSOR},
                    "outputs": {
                        "type": "array",
                        "items": {
                            "type": "object",
                            "required": ["name"],
                            "properties": {
                                "name": {"type": "string"},
                                "parameters": {"type": "object"},
                            },
                        },
                    },
                },
            },
            "example": {
                "inputs": [
                    {"name": "image_bytes", "shape": [1], "datatype": "BYTES", "data": ["..."]}
                ]
            },
        }
    },
}


def _v2(summary: str, **more: Any) -> dict[str, Any]:
    return {"summary": summary, "tags": ["Open Inference Protocol"], **more}


SERVER_METADATA = _v2("Name, version and extensions of the server")
V2_LIVE = _v2("Liveness")
V2_READY = _v2("Readiness for requests", responses={503: ERRORS[503]})
V2_MODELS = _v2("The name of the model")
V2_METADATA = _v2("Names, datatypes and shapes of the tensors")
V2_MODEL_READY = _v2("Readiness of the model")
V2_INFER = _v2(
    "Run the signature that takes the inputs",
    openapi_extra={"requestBody": _INFER_BODY},
    responses={**ERRORS, 200: {"content": {"application/octet-stream": {}}}},
)
PING: dict[str, Any] = {
    "summary": "Readiness for requests (Amazon SageMaker)",
    "tags": ["platforms"],
    "responses": {503: ERRORS[503]},
}
INVOCATIONS: dict[str, Any] = {
    "summary": "Predictions for JSON or images (Amazon SageMaker)",
    "tags": ["platforms"],
    "openapi_extra": {
        "requestBody": {
            "required": True,
            "content": {**_JSON_BODY["content"], **_IMAGE_BODY["content"]},  # type: ignore[dict-item]
        }
    },
}
