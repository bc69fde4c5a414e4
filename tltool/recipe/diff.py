"""What differs between two recipes."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from tltool.recipe.schema import Recipe


@dataclass(frozen=True)
class Difference:
    """A key that two recipes set to different values, as JSON has them."""

    key: str
    a: Any
    b: Any


def differences(a: Recipe, b: Recipe) -> list[Difference]:
    """Return every key whose value differs, in the order of the schema.

    A section that only one recipe has on is one difference: null against the map.
    """
    return list(_differing(a.model_dump(mode="json"), b.model_dump(mode="json"), ""))


def _differing(a: Mapping[str, Any], b: Mapping[str, Any], prefix: str) -> Iterator[Difference]:
    for key, one in a.items():
        other = b[key]
        if isinstance(one, dict) and isinstance(other, dict):
            yield from _differing(one, other, f"{prefix}{key}.")
        elif one != other:
            yield Difference(f"{prefix}{key}", one, other)
