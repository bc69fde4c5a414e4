"""Errors that are returned to clients as JSON."""

from __future__ import annotations

from collections.abc import Mapping


class ApiError(Exception):
    """An error response in TensorFlow Serving's format ``{"error": MESSAGE}``.

    Args:
        status: HTTP status code.
        message: must not contain paths of the server.
        headers: further response headers.
    """

    def __init__(self, status: int, message: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.headers = dict(headers or {})


def bad_request(message: str) -> ApiError:
    """Return the error for an invalid request."""
    return ApiError(400, message)


def too_busy(seconds: int = 1) -> ApiError:
    """Return the error for a request that may be sent again after ``seconds``."""
    return ApiError(
        503, "The server is busy: its queue is full", headers={"Retry-After": str(seconds)}
    )
