"""Finds files that are named as edited copies of others: flipped, rotated, augmented, thumbnails.

The search for near duplicates does not find mirrored or strongly rotated copies. Programs that make
copies name them after the original, and copies in another split are data leakage.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import PurePath

from tltool.data.catalog import Item
from tltool.data.checks.findings import Finding, Severity

COPIES_BY_NAME = "copies by name"

_WORDS = (
    r"h?flip(?:ped)?|vflip(?:ped)?|mirror(?:ed)?|rot(?:ate[d]?)?|aug(?:mented)?|augment|bright\w*"
    r"|dark\w*|blur(?:red)?|noise|noisy|crop(?:ped)?|shift(?:ed)?|zoom(?:ed)?|thumb(?:nail)?|copy"
)
# What is left out of a name, without its extension, to find its original.
_MARKS = (
    r"\.rf\.[0-9a-f]{16,}",  # Roboflow
    rf"(?:[-_ ](?:{_WORDS})(?:[-_ ]?\d+)?)+",
    r"-\d{2,4}x\d{2,4}",  # WordPress
)
_BEHIND = re.compile(rf"(?:{'|'.join(_MARKS)})$", re.IGNORECASE)
_BEFORE = re.compile(r"^(?:thumb(?:nail)?|aug(?:mented)?|flip(?:ped)?|rot(?:ated)?)\d*[-_]", re.I)
_FEWEST = 2  # originals with copies; one may be chance


def copy_name_findings(shown: Callable[[Item], str], items: Sequence[Item]) -> Iterator[Finding]:
    """Yield one finding if files are named as copies of others.

    It is serious where an original and a copy are in different splits of the source.

    Args:
        shown: returns the displayed path of an item.
        items: the usable images.

    Examples:
        >>> names = ("a.jpg", "a_flip.jpg", "b.jpg", "b_flip.jpg")
        >>> [*copy_name_findings(str, [Item(Path("cat") / name, "cat") for name in names])]
        [Finding(path=None, kind='copies by name', ...)]
    """
    families = copies_by_name(items)
    if len(families) < _FEWEST:
        return
    copies = sum(len(family) - 1 for family in families.values())
    leaking = [family for family in families.values() if len(_splits(family)) > 1]
    example = " and ".join(repr(PurePath(shown(item)).name) for item in _example(families, leaking))
    detail = (
        f"{copies:,} files are named as copies of {len(families):,} others, such as {example}; "
        "mirrored and rotated copies are not found by their content"
    )
    if leaking:
        detail += f"; {len(leaking):,} originals have copies in another split (data leakage)"
    severity: Severity = "serious" if leaking else "warning"
    suggestion = (
        "remove the copies, as training makes its own; or keep them with their original: tltool "
        f"data split DATA --group '{group_pattern(families)}'"
    )
    yield Finding(None, COPIES_BY_NAME, detail, suggestion, severity)


def copies_by_name(items: Sequence[Item]) -> Mapping[tuple[str, str], list[Item]]:
    """Return the images of each class and original name that has a copy; the original is first."""
    marked: set[tuple[str, str]] = set()
    for item in items:
        base = _original(item.path.stem)
        if base != item.path.stem:
            marked.add((item.label, base))
    families: dict[tuple[str, str], list[Item]] = defaultdict(list)
    for item in items if marked else ():
        key = item.label, _original(item.path.stem)
        if key in marked:
            families[key].append(item)
    return {
        key: sorted(families[key], key=lambda item: (len(item.path.stem), item.path.stem))
        for key in marked
        if len(families[key]) > 1
    }


def group_pattern(families: Mapping[tuple[str, str], Sequence[Item]]) -> str:
    """Return a regular expression for ``--group`` that captures the name of the original."""
    stems = [item.path.stem for family in families.values() for item in family]
    before, behind = (_any_of(_marks(pattern, stems)) for pattern in (_BEFORE, _BEHIND))
    return rf"{before}([^/]+?){behind}\.\w+$"


def _marks(pattern: re.Pattern[str], stems: Sequence[str]) -> list[str]:
    """Return what ``pattern`` finds in names, as regular expressions for any digits."""
    found = [match[0] for match in map(pattern.search, stems) if match]
    hexadecimal = [re.sub(r"^\.rf\.[0-9a-f]+$", "\0", text) for text in found]
    return sorted(
        {
            r"\.rf\.[0-9a-f]+"
            if text == "\0"
            else re.sub(r"\d+", r"\\d+", re.escape(text).replace("\\ ", " "))
            for text in hexadecimal
        }
    )


def _any_of(marks: Sequence[str]) -> str:
    return f"(?:{'|'.join(marks)})?" if marks else ""


def _original(stem: str) -> str:
    """Return the name without the marks of a copy; a name of nothing else is kept."""
    base = _BEHIND.sub("", _BEFORE.sub("", stem))
    return base or stem


def _splits(family: Sequence[Item]) -> set[str | None]:
    return {item.given_split for item in family}


def _example(
    families: Mapping[tuple[str, str], list[Item]], leaking: Sequence[list[Item]]
) -> list[Item]:
    family = leaking[0] if leaking else next(iter(families.values()))
    return [family[-1], family[0]]
