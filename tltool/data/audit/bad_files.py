"""What to do about a file that cannot be used."""

from __future__ import annotations

import errno
import os

from tltool.data.decoding.image_errors import INTACT_COPY, BadFileError
from tltool.data.decoding.image_file import NOT_REGULAR

BROKEN_LINK = "broken symbolic link"
LINK_LOOP = "symbolic link that points to itself (a loop)"

_DOWNSCALE = "downscale it; a model uses a few hundred pixels per side"
_BY_KIND = {
    "unreadable": "copy it again, or remove it",
    "unsupported": "convert it to JPEG or PNG",
    "too many pixels": _DOWNSCALE,
    "too large": _DOWNSCALE,
    "not an image": "remove it, or replace it with the image",
}
_BY_DETAIL = {
    BROKEN_LINK: "fix the link, or remove it",
    LINK_LOOP: "fix the link, or remove it",
    NOT_REGULAR: "remove it",
    os.strerror(errno.EACCES): "get permission to read it, or remove it",
}


def mend_of(problem: BadFileError) -> str:
    """Return what to do about an unusable file."""
    by_kind = _BY_KIND.get(problem.kind, INTACT_COPY)
    return problem.mend or _BY_DETAIL.get(problem.detail, by_kind)
