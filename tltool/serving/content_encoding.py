"""Decompress request bodies: ``Content-Encoding`` of RFC 9110, section 8.4."""

from __future__ import annotations

import zlib
from collections.abc import Iterator

from tltool.serving.api_errors import ApiError, bad_request

PIECE = 2**20  # largest number of bytes that are decompressed at once
# zlib's window bits: 16 more for the header of gzip (RFC 1952), without for zlib's own (RFC 1950)
_WINDOW_BITS = {"gzip": 31, "x-gzip": 31, "deflate": 15}
_SUPPORTED = "gzip, deflate"


class Decompressor:
    """Decompresses one body in pieces, so that the caller can stop at a limit.

    Args:
        coding: ``gzip``, ``x-gzip`` or ``deflate``.
    """

    def __init__(self, coding: str) -> None:
        self._coding = coding
        self._stream = self._new_stream()
        self._started = False

    def _new_stream(self) -> zlib._Decompress:
        return zlib.decompressobj(_WINDOW_BITS[self._coding])

    def pieces(self, chunk: bytes) -> Iterator[bytes]:
        """Yield the decompressed bytes of the next part of a body, at most ``PIECE`` at once.

        A gzip body may consist of several members, as ``cat a.gz b.gz`` writes them.

        Raises:
            ApiError: the body is damaged, or has another encoding.
        """
        self._started = True
        try:
            while chunk or not self._stream.eof:
                if self._stream.eof:
                    self._stream = self._new_stream()
                piece = self._stream.decompress(chunk, PIECE)
                if piece:
                    yield piece
                chunk = self._stream.unused_data or self._stream.unconsumed_tail
                if not chunk and len(piece) < PIECE:
                    return
        except zlib.error:
            raise bad_request(
                f"The request is not valid {self._coding}, which its Content-Encoding states"
            ) from None

    def finish(self) -> None:
        """Check that the body is complete.

        Raises:
            ApiError: its end is missing.
        """
        if self._started and not self._stream.eof:
            raise bad_request(f"The {self._coding} data of the request are truncated")


def decompressor(content_encoding: str | None) -> Decompressor | None:
    """Return the decompressor for a header ``Content-Encoding``; None if nothing is compressed.

    Raises:
        ApiError: status 415, for an unsupported encoding or for more than one.
    """
    codings = [one.strip().lower() for one in (content_encoding or "").split(",")]
    applied = [one for one in codings if one not in ("", "identity")]
    if not applied:
        return None
    if len(applied) > 1 or applied[0] not in _WINDOW_BITS:
        raise ApiError(
            415,
            f"Content-Encoding '{', '.join(applied)[:40]}' is not supported; "
            f"send the request with gzip, with deflate, or uncompressed",
            headers={"Accept-Encoding": _SUPPORTED},
        )
    return Decompressor(applied[0])
