r"""JSON that every reader accepts, for file names of any bytes.

Python keeps a byte of a name that is not UTF-8 as one half of a surrogate pair (PEP 383). No UTF-8
can hold that, and strict readers of JSON refuse it as an escape too. So it is written as text: a
backslash, ``u`` and four digits, such as ``\udce9`` for the byte E9. A name that holds such text
itself has its backslash written as ``\udc5c``, which stands for no byte, so that all comes back.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from typing import Any

_HALF = re.compile("[\ud800-\udfff]")
_TEXT = re.compile(r"\\ud[89a-f][0-9a-f]{2}")
_BACKSLASH = r"\udc5c"


def to_json(
    document: Any, *, indent: int | None = 2, default: Callable[[Any], Any] | None = None
) -> str:
    """Return a document as JSON that UTF-8 can hold.

    Args:
        document: what to write.
        indent: spaces per level, None for one line.
        default: converts values that JSON does not know; without it they are an error.
    """
    text = json.dumps(document, indent=indent, ensure_ascii=False, default=default)
    if _HALF.search(text) is None and _TEXT.search(text) is None:
        return text
    plain = json.loads(json.dumps(document, default=default))
    return json.dumps(_changed(plain, _escaped), indent=indent, ensure_ascii=False)


def from_json(text: str | bytes) -> Any:
    """Return what ``to_json`` wrote, names as they were.

    Raises:
        ValueError: it is no JSON, or nested too deeply.
    """
    try:
        return _changed(json.loads(text), _restored)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def _changed(value: Any, change: Callable[[str], str]) -> Any:
    if isinstance(value, str):
        return change(value)
    if isinstance(value, Mapping):
        return {change(name): _changed(inside, change) for name, inside in value.items()}
    if isinstance(value, list):
        return [_changed(inside, change) for inside in value]
    return value


def _escaped(text: str) -> str:
    text = _TEXT.sub(lambda match: _BACKSLASH + match[0][1:], text)
    return _HALF.sub(lambda half: f"\\u{ord(half[0]):04x}", text)


def _restored(text: str) -> str:
    return _TEXT.sub(
        lambda match: "\\" if match[0] == _BACKSLASH else chr(int(match[0][2:], 16)), text
    )
