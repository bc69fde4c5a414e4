"""What a client is told when a request cannot be answered."""

from __future__ import annotations

from collections.abc import Mapping


class ApiError(Exception):
    """An answer that is no result, in TensorFlow Serving's form ``{"error": MESSAGE}``.

    Args:
        status: of HTTP.
        message: names no file or folder of the server.
        headers: to send along.
    """

    def __init__(self, status: int, message: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.headers = dict(headers or {})


def bad_request(message: str) -> ApiError:
    """Return the error of a request that can never be answered."""
    return ApiError(400, message)


def too_busy(seconds: int = 1) -> ApiError:
    """Return the error of a request that may be sent again in ``seconds``."""
    return ApiError(
        503, "The server is busy: its queue is full", headers={"Retry-After": str(seconds)}
    )
