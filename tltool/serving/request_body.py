"""Read request bodies into memory, within limits of size and time; nothing is written to disk."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from starlette.requests import Request

from tltool.serving.api_errors import ApiError, too_busy
from tltool.serving.settings import Limits

_DISCARD_SECONDS = 5.0  # to read and discard the rest of a body that is too large


class RequestBodies:
    """Reads request bodies and tracks the memory of all of them together.

    Args:
        limits: of size and time.
    """

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._total_bytes = 0

    @asynccontextmanager
    async def read(self, request: Request) -> AsyncIterator[bytes]:
        """Give the body of ``request``; its memory counts until the context ends.

        Raises:
            ApiError: the body is too large or too slow, or all bodies together are too large.
        """
        chunks: list[bytes] = []
        size = 0
        try:
            async with asyncio.timeout(self._limits.body_seconds):
                self._check(_content_length(request))
                async for chunk in request.stream():
                    chunks.append(chunk)
                    size += len(chunk)
                    self._total_bytes += len(chunk)
                    self._check(size)
            body = b"".join(chunks)
            chunks.clear()
            yield body
        except TimeoutError:
            raise ApiError(
                408, "The request took too long to arrive", headers={"Connection": "close"}
            ) from None
        except ApiError as error:
            if error.status == 413:
                chunks.clear()
                await _discard_rest(request, 4 * self._limits.body_bytes)
            raise
        finally:
            self._total_bytes -= size

    def _check(self, size: int) -> None:
        limit = self._limits.body_bytes
        if size > limit:
            raise ApiError(413, f"The request is larger than {limit:,} bytes")
        if self._total_bytes > self._limits.total_bytes:
            raise too_busy()


def _content_length(request: Request) -> int:
    length = request.headers.get("content-length", "0")
    return int(length) if length.isascii() and length.isdigit() and len(length) < 19 else 0


async def _discard_rest(request: Request, max_bytes: int) -> None:
    """Read and discard: a client that is still sending would miss the response otherwise."""
    discarded = 0
    try:
        async with asyncio.timeout(_DISCARD_SECONDS):
            async for chunk in request.stream():
                discarded += len(chunk)
                if discarded > max_bytes:
                    return
    except TimeoutError:
        return
    except RuntimeError:  # the stream has already ended
        return
