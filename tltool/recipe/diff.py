"""Differences between two recipes."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from tltool.recipe.schema import Recipe


@dataclass(frozen=True)
class Difference:
    """A key with the different values, JSON-ready, of two recipes."""

    key: str
    a: Any
    b: Any


def differences(a: Recipe, b: Recipe) -> list[Difference]:
    """Return every key whose value differs, in the order of the schema.

    A section that is null in one of the recipes is a single difference.
    """
    return list(_differing(a.model_dump(mode="json"), b.model_dump(mode="json"), ""))


def _differing(a: Mapping[str, Any], b: Mapping[str, Any], prefix: str) -> Iterator[Difference]:
    for key, one in a.items():
        other = b[key]
        if isinstance(one, dict) and isinstance(other, dict):
            yield from _differing(one, other, f"{prefix}{key}.")
        elif one != other:
            yield Difference(f"{prefix}{key}", one, other)
