"""The bodies of requests: read into memory, within limits of size and time, never to a disk."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from starlette.requests import Request

from tltool.serving.api_errors import ApiError, too_busy
from tltool.serving.settings import Limits

_PATIENCE = 5.0  # seconds for the rest of a body that is too large to go by


class Bodies:
    """Reads bodies, and knows how much of the memory all of them hold.

    Args:
        limits: of size and time.
    """

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._held = 0

    @asynccontextmanager
    async def of(self, request: Request) -> AsyncIterator[bytes]:
        """Give the body of ``request``; its memory counts until the context ends.

        Raises:
            ApiError: it is too large or too slow, or too much is under way.
        """
        chunks: list[bytes] = []
        held = 0
        try:
            async with asyncio.timeout(self._limits.body_seconds):
                self._check(_announced(request))
                async for chunk in request.stream():
                    chunks.append(chunk)
                    held += len(chunk)
                    self._held += len(chunk)
                    self._check(held)
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
                await _let_pass(request, 4 * self._limits.body_bytes)
            raise
        finally:
            self._held -= held

    def _check(self, size: int) -> None:
        limit = self._limits.body_bytes
        if size > limit:
            raise ApiError(413, f"The request is larger than {limit:,} bytes")
        if self._held > self._limits.held_bytes:
            raise too_busy()


def _announced(request: Request) -> int:
    length = request.headers.get("content-length", "0")
    return int(length) if length.isascii() and length.isdigit() and len(length) < 19 else 0


async def _let_pass(request: Request, most: int) -> None:
    """Read on and forget: a connection closed while data come would take the answer along."""
    passed = 0
    try:
        async with asyncio.timeout(_PATIENCE):
            async for chunk in request.stream():
                passed += len(chunk)
                if passed > most:
                    return
    except TimeoutError:
        return
    except RuntimeError:  # the stream had ended already
        return
