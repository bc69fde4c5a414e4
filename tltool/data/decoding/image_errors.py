"""The errors of image files that cannot be used."""

from __future__ import annotations

from tltool.errors import DataError

INTACT_COPY = "replace it with an intact copy, or remove it"


class BadFileError(Exception):
    """A file cannot be used; has the kind and the detail of its issue.

    Attributes:
        kind: a short name such as ``"damaged"``.
        detail: what is wrong.
        mend: what to do about it; empty if that follows from the kind.
    """

    def __init__(self, kind: str, detail: str, mend: str = "") -> None:
        super().__init__(kind, detail)
        self.kind = kind
        self.detail = detail
        self.mend = mend


class ImageError(DataError):
    """The content of a file cannot be used as an image."""

    kind = "unsupported"

    def as_bad_file(self) -> BadFileError:
        """Return the same problem with its kind."""
        return BadFileError(self.kind, self.message, self.hint or "")


class DamagedError(ImageError):
    """An image file is truncated or corrupted."""

    kind = "damaged"


class UnsupportedError(ImageError):
    """An intact image file that cannot be decoded correctly."""


class UnreadableError(ImageError):
    """A file that the operating system cannot read."""

    kind = "unreadable"


class ChangedImageError(UnreadableError):
    """A file that is gone, or has other bytes, since its audit."""


class NotAnImageError(ImageError):
    """A file of another type."""

    kind = "not an image"
