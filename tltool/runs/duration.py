"""Lengths of time as people write them: 90s, 30m, 1h30m."""

from __future__ import annotations

import re

from tltool.errors import UsageError

_NUMBER = r"(\d+(?:\.\d+)?)"
_LONGEST = 366 * 24 * 3600.0  # seconds
_FORM = re.compile(f"(?:{_NUMBER}h)?(?:{_NUMBER}m)?(?:{_NUMBER}s)?", re.ASCII)


def parse_duration(text: str, *, option: str) -> float:
    """Return the seconds of a length of time in hours, minutes and seconds.

    Args:
        text: such as 90s, 30m, 1h30m or 2h; each unit at most once, in this order.
        option: what it was given to, for the message.

    Raises:
        UsageError: it has another form, is zero, or is longer than a year.

    Examples:
        >>> parse_duration("1h30m", option="--time-limit")
        5400.0
    """
    match = _FORM.fullmatch(text.strip().lower())
    seconds = 0.0
    if match:
        hours, minutes, rest = (float(number or 0) for number in match.groups())
        seconds = 3600 * hours + 60 * minutes + rest
    if not seconds:
        raise UsageError(f"{option} {text}: expected a time such as 90s, 30m, 1h30m or 2h")
    if seconds > _LONGEST:
        raise UsageError(f"{option} {text}: the longest time is a year, 8784h")
    return seconds


def format_duration(seconds: float) -> str:
    """Return seconds in the form that ``parse_duration`` reads, rounded to whole seconds.

    Examples:
        >>> format_duration(5430)
        '1h30m30s'
    """
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    parts = ((hours, "h"), (minutes, "m"), (rest, "s"))
    return "".join(f"{number}{unit}" for number, unit in parts if number) or "0s"


def readable_duration(seconds: float) -> str:
    """Return a length of time with the digits that matter, such as ``4 min 05 s``."""
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    return f"{minutes // 60} h {minutes % 60:02d} min"
