"""What the OpenAPI description says of each address."""

from __future__ import annotations

from typing import Any

from fastapi import Response

_ERROR_SCHEMA = {
    "type": "object",
    "properties": {"error": {"type": "string"}},
    "required": ["error"],
}


def _told(description: str) -> dict[str, Any]:
    return {
        "description": description,
        "content": {"application/json": {"schema": _ERROR_SCHEMA}},
    }


ERRORS: dict[int | str, dict[str, Any]] = {
    400: _told("The request cannot be understood."),
    404: _told("There is no such model or version."),
    405: _told("The address knows other methods only."),
    408: _told("The request took too long to arrive."),
    413: _told("The request, an image in it or its number of items is too large."),
    501: _told("The model cannot do that."),
    503: _told("Busy, or no version is ready; Retry-After says when to ask again."),
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
                    "photo": {
                        "type": "array",
                        "items": {"type": "string", "format": "binary"},
                    }
                },
                "required": ["photo"],
            }
        },
        "image/*": {"schema": {"type": "string", "format": "binary"}},
        "application/octet-stream": {"schema": {"type": "string", "format": "binary"}},
    },
}

MODELS: dict[str, Any] = {
    "summary": "What is served",
    "tags": ["models"],
    "responses": {503: ERRORS[503]},
}
STATUS: dict[str, Any] = {"summary": "State of the versions", "tags": ["models"]}
METADATA: dict[str, Any] = {"summary": "Signatures of the model", "tags": ["models"]}
PREDICT: dict[str, Any] = {
    "summary": "Ask a signature, in row form (instances) or column form (inputs)",
    "tags": ["models"],
    "openapi_extra": {"requestBody": _JSON_BODY},
}
CLASSIFY: dict[str, Any] = {
    "summary": "Name what is on images: a form of files, or the bytes of one",
    "tags": ["photos"],
    "openapi_extra": {"requestBody": _IMAGE_BODY},
}
CLASS = "Name of the class that is explained; by default the one that the model names."
EXPLAIN: dict[str, Any] = {
    "summary": "Where an image speaks for a class, as a picture: a form of one file, or its bytes",
    "tags": ["photos"],
    "openapi_extra": {"requestBody": _IMAGE_BODY},
    "response_class": Response,
    "responses": {**ERRORS, 200: {"content": {"image/png": {}}}},
}
HEALTH: dict[str, Any] = {"summary": "Whether the process lives", "tags": ["watching"]}
READY: dict[str, Any] = {
    "summary": "Whether to send requests here",
    "tags": ["watching"],
    "responses": {503: ERRORS[503]},
}
METRICS: dict[str, Any] = {
    "summary": "Counters for Prometheus",
    "tags": ["watching"],
    "responses": {200: {"content": {"text/plain": {}}}},
}
