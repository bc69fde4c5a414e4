"""Read request bodies into memory, within limits of size and time; nothing is written to disk."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager

from starlette.requests import Request

from tltool.serving.api_errors import ApiError, too_busy
from tltool.serving.content_encoding import Decompressor, decompressor
from tltool.serving.settings import Limits

_REJECTED = {400, 413, 415}  # may be known before the whole body has arrived


class RequestBodies:
    """Reads request bodies and tracks the memory of all of them together.

    Args:
        limits: of size and time; of a compressed body both sizes are limited.
    """

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._total_bytes = 0

    @asynccontextmanager
    async def read(self, request: Request) -> AsyncIterator[bytes]:
        """Give the body of ``request``, decompressed; its memory counts until the context ends.

        Raises:
            ApiError: the body is too large or too slow, all bodies together are too large, or its
                Content-Encoding is unsupported or wrong.
        """
        chunks: list[bytes] = []
        size = 0
        try:
            async with asyncio.timeout(self._limits.body_seconds):
                self._check(_content_length(request))
                async with aclosing(self._stream(request)) as stream:
                    async for chunk in stream:
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
            if error.status in _REJECTED:
                chunks.clear()
                await _discard_rest(request, self._limits)
            raise
        finally:
            self._total_bytes -= size

    def _stream(self, request: Request) -> AsyncGenerator[bytes, None]:
        decoder = decompressor(request.headers.get("content-encoding"))
        return request.stream() if decoder is None else self._decompressed(request, decoder)

    async def _decompressed(
        self, request: Request, decoder: Decompressor
    ) -> AsyncGenerator[bytes, None]:
        received = 0
        async for chunk in request.stream():
            received += len(chunk)
            self._check(received)
            pieces = decoder.pieces(chunk)
            while chunk and (piece := await asyncio.to_thread(next, pieces, None)) is not None:
                yield piece
        decoder.finish()

    def _check(self, size: int) -> None:
        limit = self._limits.body_bytes
        if size > limit:
            raise ApiError(413, f"The request is larger than {limit:,} bytes")
        if self._total_bytes > self._limits.total_bytes:
            raise too_busy()


def _content_length(request: Request) -> int:
    length = request.headers.get("content-length", "0")
    return int(length) if length.isascii() and length.isdigit() and len(length) < 19 else 0


async def _discard_rest(request: Request, limits: Limits) -> None:
    """Read and discard: a client that is still sending would miss the response otherwise."""
    discarded = 0
    try:
        async with asyncio.timeout(limits.discard_seconds):
            async for chunk in request.stream():
                discarded += len(chunk)
                if discarded > 4 * limits.body_bytes:
                    return
    except TimeoutError:
        return
    except RuntimeError:  # the stream has already ended
        return
