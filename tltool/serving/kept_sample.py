"""The images that ``tltool serve --keep-sample`` keeps: a random share, up to a size."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from pathlib import Path

from tltool.storage.durable import write_durably

MAX_BYTES = 200 * 2**20
_SUFFIXES = {
    b"\xff\xd8": ".jpg",
    b"\x89PNG": ".png",
    b"GIF8": ".gif",
    b"BM": ".bmp",
    b"RIFF": ".webp",
}


class KeptSample:
    """Writes images into a folder, named after their SHA-256.

    Whether an image is kept depends on its content only, so a repeated image is kept once.

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
        self._left = max_bytes - sum(one.stat().st_size for one in folder.iterdir())
        self._full = False

    def keep(self, contents: Iterable[bytes]) -> None:
        """Keep the share of encoded images; called from a thread. Never raises for a full disk."""
        for content in contents:
            digest = hashlib.sha256(content)
            if int.from_bytes(digest.digest()[:8]) >= self.share * 2.0**64 or self._full:
                continue
            suffix = next((s for start, s in _SUFFIXES.items() if content.startswith(start)), "")
            path = self._folder / f"{digest.hexdigest()}{suffix}"
            if path.exists() or not suffix:
                continue
            if len(content) > self._left:
                self._stop("the folder of kept images is full")
                return
            try:
                write_durably(path, content)
            except OSError as error:
                self._stop(f"no more images are kept: {error.strerror}")
                return
            self._left -= len(content)

    def _stop(self, sentence: str) -> None:
        self._full = True
        self._log(f"{sentence}: {self._folder}")
