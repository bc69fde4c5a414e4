"""Download one file over HTTP: fails fast without a network, checks length and checksum."""

from __future__ import annotations

import ssl
import threading
import urllib.request
from http.client import HTTPException
from pathlib import Path
from typing import Any
from urllib.error import HTTPError, URLError

from tltool.events import Observer
from tltool.runs.digests import file_digest
from tltool.weights.published import Download

_STALL_SECONDS = 10.0
_CHUNK = 1 << 20
_MEGABYTE = 1_000_000


class FetchError(Exception):
    """One origin did not deliver the file; the text is the reason."""


def download(origin: Download, target: Path, *, answer_within: float, observer: Observer) -> None:
    """Download a file to ``target``.

    Args:
        origin: http or https address, and the digest; the environment's proxies are used.
        target: file to write; incomplete after an error.
        answer_within: seconds until the server must start to answer, name look-up included.
        observer: receives the progress in megabytes.

    Raises:
        FetchError: no answer, an error status, a stalled or cut download, or a wrong checksum.
    """
    response = _open(origin.url, answer_within)
    try:
        with response, target.open("wb") as file:
            total = int(response.headers.get("Content-Length") or 0)
            done = 0
            while chunk := response.read(_CHUNK):
                file.write(chunk)
                done += len(chunk)
                observer.on_progress(done // _MEGABYTE, max(total, done) // _MEGABYTE, unit="MB")
    except (HTTPException, TimeoutError, ConnectionError, ssl.SSLError) as error:
        raise FetchError(f"the download was interrupted ({error})") from error
    if done < total:
        raise FetchError(f"the download was interrupted after {done} of {total} bytes")
    if origin.digest and file_digest(target, origin.algorithm) != origin.digest:
        raise FetchError("the checksum differs from the published one")


def _open(url: str, answer_within: float) -> Any:
    """Open ``url`` in a thread, because a name look-up has no time limit of its own."""
    box: list[Any] = []
    thread = threading.Thread(target=_open_into, args=(box, url), daemon=True)
    thread.start()
    thread.join(answer_within)
    if not box:
        raise FetchError(f"no answer within {answer_within:.0f} s")
    if isinstance(box[0], Exception):
        raise FetchError(_reason(box[0])) from box[0]
    return box[0]


def _open_into(box: list[Any], url: str) -> None:
    try:
        box.append(urllib.request.urlopen(url, timeout=_STALL_SECONDS))
    except Exception as error:
        box.append(error)


def _reason(error: Exception) -> str:
    if isinstance(error, URLError) and not isinstance(error, HTTPError):
        return str(error.reason)
    if isinstance(error, HTTPError):
        error.close()
    return str(error)
