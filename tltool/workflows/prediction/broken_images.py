"""JPEG files that are predicted although they are damaged inside."""

from __future__ import annotations

from collections.abc import Sequence

from tltool.data.audit.file_warnings import BROKEN_INSIDE
from tltool.data.audit.jpeg_damage import libjpeg_message
from tltool.data.decoding.decode_jpeg import decode_thumbnail
from tltool.data.decoding.native_messages import JpegWarnings
from tltool.events import Observer
from tltool.workflows.prediction.inputs import ImageInMemory, InputImage


class BrokenImages:
    """Counts the images about which libjpeg warns, and keeps the first one."""

    def __init__(self) -> None:
        self._count = 0
        self._example = ""

    def find(
        self,
        images: Sequence[InputImage | ImageInMemory],
        contents: Sequence[bytes | str],
        warnings: JpegWarnings,
    ) -> None:
        """Decode the JPEG files once more, one by one, to find which of them are damaged.

        Args:
            images: of a batch.
            contents: the bytes of each, or why it cannot be read.
            warnings: the context, in which nothing else is decoded now.
        """
        for image, content in zip(images, contents, strict=True):
            if not isinstance(content, bytes) or content[:3] != b"\xff\xd8\xff":
                continue
            try:
                message = libjpeg_message(content, decode_thumbnail, warnings)
            except Exception:  # it has no prediction either
                continue
            if message is not None:
                self._count += 1
                self._example = self._example or f"{image.shown} ({message})"

    @property
    def found(self) -> tuple[int, str]:
        """How many there are, and the first one."""
        return self._count, self._example

    def add(self, count: int, example: str) -> None:
        """Count images that another process has found."""
        self._count += count
        self._example = self._example or example

    def report(self, observer: Observer) -> None:
        """Report them in one line, if there are any."""
        if self._count:
            observer.on_message(
                f"{BROKEN_INSIDE}: {self._count:,} image{'s' * (self._count > 1)}, such as "
                f"{self._example}: parts may be missing or wrong, and so may be the prediction",
                level="warning",
            )
