"""Paths of very many files in little memory."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, TypeVar

Kind = TypeVar("Kind", bound=type)
_FIELD = "path"


class _PathAsText:
    """A data descriptor that keeps a path as text and returns a new ``Path`` for each access.

    Args:
        slot: the descriptor of the slot that holds the text.
    """

    def __init__(self, slot: Any) -> None:
        self._slot = slot

    def __get__(self, instance: object, owner: type) -> Path | None:
        text = self._slot.__get__(instance, owner)
        return None if text is None else Path(text)

    def text(self, instance: object) -> str:
        """Return the text of the path of ``instance``."""
        text: str = self._slot.__get__(instance, type(instance))
        return text

    def __set__(self, instance: object, path: Path | None) -> None:
        self._slot.__set__(instance, None if path is None else os.fspath(path))


def path_as_text(kind: Kind) -> Kind:
    """Decorate a frozen dataclass with slots so that its field ``path`` is kept as text.

    A ``Path`` takes 370 bytes, its text 80: with 100,000 files that decides how much memory a
    command needs.

    Examples:
        >>> @path_as_text
        ... @dataclass(frozen=True, slots=True)
        ... class File:
        ...     path: Path
        >>> File(Path("a.jpg")).path
        PosixPath('a.jpg')
    """
    setattr(kind, _FIELD, _PathAsText(vars(kind)[_FIELD]))
    return kind


def text_of_path(instance: object) -> str:
    """Return the text of the path of an instance of a decorated class, without a new ``Path``."""
    text: str = vars(type(instance))[_FIELD].text(instance)
    return text
