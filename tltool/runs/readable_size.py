"""Sizes of files for people."""

from __future__ import annotations


def readable_size(size: int) -> str:
    """Return a number of bytes with a unit and two or three digits.

    Examples:
        >>> [readable_size(size) for size in (900, 12_345, 3_400_000, 51_000_000_000)]
        ['1 kB', '12 kB', '3.4 MB', '51 GB']
    """
    number, unit = size / 1e3, "kB"
    for larger in ("MB", "GB"):
        if number >= 999.5:
            number, unit = number / 1e3, larger
    digits = 1 if number < 9.95 and unit != "kB" else 0
    return f"{number:,.{digits}f} {unit}"
