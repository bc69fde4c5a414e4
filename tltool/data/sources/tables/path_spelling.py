"""Spellings of a path in a table that mean the same file: backslashes, quotes, blanks and more."""

from __future__ import annotations

import re
from collections.abc import Iterable
from urllib.parse import unquote

from tltool.recipe.library import expanded
from tltool.storage.address import is_object_store

_QUOTES = "\"'`“”‘’„«»"
_SCHEME = re.compile(r"[a-zA-Z][a-zA-Z0-9+.-]+://")
_DRIVE = re.compile(r"[a-zA-Z]:[\\/]")


def cleaned(path: str) -> str:
    r"""Return a path with slashes, without ``file://`` or ``~``, and with neat ends.

    Examples:
        >>> cleaned(r" 'photos\a%201.jpg' ")
        'photos/a 1.jpg'
    """
    text = path.strip().strip(_QUOTES).strip()
    if text.lower().startswith("file://"):
        text = text[len("file://") :].removeprefix("localhost")
    if is_url(text):
        return text
    text = text.replace("\\", "/")
    if re.search(r"%[0-9a-fA-F]{2}", text):
        text = unquote(text, errors="surrogateescape")
    if text.startswith("~/"):
        text = str(expanded(text))
    return re.sub(r"(?<!^)/{2,}", "/", text).removeprefix("./")


def describe_cleaning(paths: Iterable[str]) -> list[str]:
    """Return what ``cleaned`` changes in some of the paths."""
    kinds: dict[str, None] = {}
    for path in paths:
        if path != path.strip():
            kinds["blanks at the ends"] = None
        text = path.strip()
        if text != text.strip(_QUOTES):
            kinds["quotes"] = None
        if "\\" in text:
            kinds["backslashes"] = None
        if re.search(r"%[0-9a-fA-F]{2}", text):
            kinds["percent signs"] = None
        if text.startswith(("~/", "file://")):
            kinds["~ or file://"] = None
    return list(kinds)


def is_url(text: str) -> bool:
    """Return whether a text is an address such as ``https://host`` or ``s3://bucket``."""
    match = _SCHEME.match(text)
    return match is not None and not _DRIVE.match(text)


def why_missing(path: str) -> str:
    """Return what is wrong with a path that was not found, as a problem of a table."""
    text = path.strip().strip(_QUOTES)
    if is_object_store(text):
        return "objects are missing"
    if is_url(text) and not text.lower().startswith("file://"):
        return "paths are addresses (URLs) that are not read: download them"
    if text.startswith("~"):
        return "files are missing, with ~ for your home folder"
    return "files are missing"
