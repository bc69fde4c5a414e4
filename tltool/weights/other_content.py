"""What a file is that was given as weights and is none: a web page, a pointer, an archive."""

from __future__ import annotations

import re

_TEXT_BYTES = 4096  # of the start, by which a text is recognised
_HTML = re.compile(rb"\s*(?:<!--.*?-->\s*)*<(?:!doctype\s+html|html|head|body)\b", re.I | re.S)
_STARTS = (
    (b"version https://git-lfs", "it is a Git LFS pointer, not the file itself; run: git lfs pull"),
    (b"# xet version", "it is a Xet pointer, not the file itself; download the file again"),
    (b"<?xml", "it is an XML text, probably the error message of a server"),
    (b"\x80\x02", "it is a Python pickle; save PyTorch weights as safetensors"),
    (b"\x80\x04", "it is a Python pickle; save the weights as safetensors"),
    (b"\x93NUMPY", "it is a NumPy array"),
    (b"\x1f\x8b", "it is compressed with gzip; unpack it first"),
    (b"BZh", "it is compressed with bzip2; unpack it first"),
    (b"\xfd7zXZ", "it is compressed with xz; unpack it first"),
    (b"(\xb5/\xfd", "it is compressed with zstd; unpack it first"),
    (b"7z\xbc\xaf", "it is a 7z archive; unpack it first"),
    (b"%PDF", "it is a PDF document"),
    (b"GGUF", "it is a GGUF file, as language models use"),
)
_TAR = (257, b"ustar")


def other_content(data: bytes) -> str | None:
    """Return what a file is by its first bytes; None if it may be an ONNX file.

    Examples:
        >>> other_content(b"<!DOCTYPE html><title>Sign in</title>")
        'it is a web page; the address needs a login, or is not that of the file'
    """
    if not data:
        return "it is empty"
    for start, words in _STARTS:
        if data.startswith(start):
            return words
    if _HTML.match(data.removeprefix(b"\xef\xbb\xbf")):
        return "it is a web page; the address needs a login, or is not that of the file"
    if data[_TAR[0] :].startswith(_TAR[1]):
        return "it is a tar archive; unpack it first"
    if _is_text(data[:_TEXT_BYTES]):
        line = data.split(b"\n", 1)[0][:60].decode("ascii", errors="replace").strip()
        return f"it is a text that begins with {line!r}"
    if not any(data[:64]):
        return "it begins with zeros only, as an incomplete download does"
    return None


def _is_text(data: bytes) -> bool:
    return all(32 <= byte < 127 or byte in b"\t\n\r" for byte in data)
