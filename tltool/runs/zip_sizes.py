"""Reject zip files whose members claim far more bytes than the file can contain."""

from __future__ import annotations

import zipfile

_MOST_COMPRESSED = 32  # times the size of the file; a model's configuration shrinks to a tenth
_SMALL = 1 << 22  # bytes


def check_zip(archive: zipfile.ZipFile, size: int) -> None:
    """Check the sizes that the members of ``archive`` claim, without reading them.

    Args:
        archive: an open zip file.
        size: of the file, in bytes.

    Raises:
        ValueError: the members are too large for the file, or overlap.
    """
    members = archive.infolist()
    claimed = sum(member.file_size for member in members)
    if claimed > _MOST_COMPRESSED * size + _SMALL:
        raise ValueError(f"its parts claim {claimed:,} bytes, the file has {size:,}")
    if sum(member.compress_size for member in members) > size:
        raise ValueError("its parts overlap")
    if len({member.filename for member in members}) < len(members):
        raise ValueError("it has two parts of the same name")
