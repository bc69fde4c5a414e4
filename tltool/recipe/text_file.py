"""Read a text file in any Unicode encoding, as editors and shells on Windows write them."""

import re
from pathlib import Path

from tltool.errors import UsageError

# YAML 1.2.2, section 5.2: the encoding shows in the first bytes, with or without a byte order mark
_ENCODINGS = (
    (re.compile(rb"\x00\x00\xfe\xff|\xff\xfe\x00\x00"), "utf-32"),
    (re.compile(rb"\x00\x00\x00[^\x00]"), "utf-32-be"),
    (re.compile(rb"[^\x00]\x00\x00\x00"), "utf-32-le"),
    (re.compile(rb"\xfe\xff|\xff\xfe"), "utf-16"),
    (re.compile(rb"\x00[^\x00]"), "utf-16-be"),
    (re.compile(rb"[^\x00]\x00"), "utf-16-le"),
)


def read_text(path: Path) -> str:
    r"""Return the text of a file without a byte order mark; each line ends with ``\n``.

    The encoding is UTF-8, UTF-16 or UTF-32.

    Raises:
        UsageError: it cannot be read, or is not text in one of these encodings.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise UsageError(f"recipe '{path}' cannot be read: {error.strerror or error}") from None
    encoding = next((name for start, name in _ENCODINGS if start.match(data)), "utf-8-sig")
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError as error:
        if encoding != "utf-8-sig":
            reason = f"it is not {encoding} text as its first bytes say"
        else:
            number = data.count(b"\n", 0, error.start) + 1
            reason = f"it is not UTF-8 text (byte 0x{data[error.start]:02x} in line {number})"
        raise UsageError(
            f"recipe '{path}' cannot be read: {reason}",
            hint="save it as UTF-8 with an editor; the file was not changed",
        ) from None
    return text.replace("\r\n", "\n").replace("\r", "\n")
