"""The images that ``tltool serve --keep-sample`` keeps: a random share, up to a size."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import BoundedSemaphore

from tltool.storage.durable import removed_on_error, unfinished_name

MAX_BYTES = 200 * 2**20
_MOST_PENDING = 32  # chosen images that wait for the disk
_SUFFIXES = {
    b"\xff\xd8": ".jpg",
    b"\x89PNG": ".png",
    b"GIF8": ".gif",
    b"BM": ".bmp",
    b"RIFF": ".webp",
}


class KeptSample:
    """Writes images into a folder, named after their SHA-256, in a thread of its own.

    Whether an image is kept depends on its content only, so a repeated image is kept once. While
    the disk is too slow, images are dropped.

    Args:
        folder: created if absent.
        share: of the images, 0 … 1.
        log: called with a sentence when the folder is full.
        max_bytes: largest size of all images in the folder.

    Attributes:
        share: as given.
    """

    def __init__(
        self,
        folder: Path,
        share: float,
        log: Callable[[str], None],
        *,
        max_bytes: int = MAX_BYTES,
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder, self.share, self._log = folder, share, log
        # changed by the one thread only
        self._left = max_bytes - sum(one.stat().st_size for one in folder.iterdir())
        self._full = False
        self._places = BoundedSemaphore(_MOST_PENDING)
        self._thread = ThreadPoolExecutor(1, "kept-sample")

    def keep(self, contents: Iterable[bytes]) -> None:
        """Keep the share of encoded images; it does not wait for the disk."""
        for content in contents:
            digest = hashlib.sha256(content)
            if self._full or int.from_bytes(digest.digest()[:8]) >= self.share * 2.0**64:
                continue
            suffix = next((s for start, s in _SUFFIXES.items() if content.startswith(start)), "")
            if suffix and self._places.acquire(blocking=False):
                path = self._folder / f"{digest.hexdigest()}{suffix}"
                self._thread.submit(self._write, path, content)

    def close(self) -> None:
        """Wait until the images that were chosen are written."""
        self._thread.shutdown()

    def _write(self, path: Path, content: bytes) -> None:
        try:
            if self._full or path.exists():
                return
            if len(content) > self._left:
                self._stop("the folder of kept images is full")
                return
            part = unfinished_name(path)
            with removed_on_error(part):  # without fsync, which takes longer than an answer
                part.write_bytes(content)
                part.replace(path)
            self._left -= len(content)
        except OSError as error:
            self._stop(f"no more images are kept: {error.strerror}")
        finally:
            self._places.release()

    def _stop(self, sentence: str) -> None:
        self._full = True
        self._log(f"{sentence}: {self._folder}")
