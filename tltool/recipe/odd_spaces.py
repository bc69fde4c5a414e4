"""Spaces that look plain and are not, as in recipes copied from a web page or a word processor."""

import re
import unicodedata

# no-break spaces, spaces of fixed width, and characters without any width
_ODD = "\u00a0\u1680\u2000-\u200d\u202f\u205f\u2060\u3000\ufeff"
_ENDS = re.compile(f"^[{_ODD}]|[{_ODD}]$|:[{_ODD}]")
_MISPLACED = re.compile(rf"^(?:[ \t]|- )*([{_ODD}])|[:,\-] *([{_ODD}])|([{_ODD}])\s*$")


def has_odd_ends(text: str) -> bool:
    """Whether a word begins or ends with an odd space, or has one behind a colon."""
    return bool(_ENDS.search(text))


def find_odd_space(text: str) -> str | None:
    r"""Return a description of the first odd space where YAML needs a plain one; None without one.

    Comments are not searched.

    Examples:
        >>> find_odd_space("train:\n\u00a0\u00a0ema: 0.1")
        'a NO-BREAK SPACE (U+00A0) where a plain space belongs (line 2, column 1)'
    """
    for number, line in enumerate(text.splitlines(), start=1):
        match = _MISPLACED.search(line)
        if match and not line.lstrip().startswith("#"):
            position = match.start(match.lastindex or 0)
            character = line[position]
            name = unicodedata.name(character, "special space")
            return (
                f"a {name} (U+{ord(character):04X}) where a plain space belongs "
                f"(line {number}, column {position + 1})"
            )
    return None
