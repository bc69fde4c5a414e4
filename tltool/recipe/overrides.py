"""Single keys of a recipe set from outside, such as ``--set train.head.epochs=3``."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

from tltool.errors import UsageError
from tltool.recipe.keys import holds_text
from tltool.recipe.merge import Tree, clash, written_out
from tltool.recipe.yaml_text import read_yaml


@dataclass(frozen=True)
class Override:
    """One key with its value.

    Attributes:
        key: dotted path, such as ``train.head.epochs``.
        value: as YAML gives it; a map is merged.
        told: what the user wrote, such as ``--seed 3``.
    """

    key: str
    value: Any
    told: str

    def tree(self) -> Tree:
        """Return a recipe that says only this; relative paths start at the working folder."""
        tree = self.value
        for part in reversed(self.key.split(".")):
            tree = {part: tree}
        return written_out(tree, folder=Path())


def parse_override(text: str) -> Override:
    """Return ``key=value`` as an override; the schema decides whether 007 is a text or a number.

    Raises:
        UsageError: there is no key or one that only files have, or the value is no YAML.
    """
    key, sign, raw = text.partition("=")
    key = key.strip()
    if not sign or not key:
        raise UsageError(f"--set {text}: expected key=value", hint="such as train.head.epochs=3")
    if key == "base":
        raise UsageError(
            f"--set {text}: a base can only stand in a recipe file",
            hint=f"to start from another recipe: --recipe {raw}",
        )
    return Override(key, _value(key, raw), f"--set {text}")


def check_conflicts(overrides: Sequence[Override]) -> None:
    """Refuse overrides that contradict each other; the same value twice is fine.

    Raises:
        UsageError: two set one key to different values, or one sets a key inside of what the other
            sets to something that has no keys.
    """
    for one, other in combinations(overrides, 2):
        key = clash(one.tree(), other.tree())
        if key is not None:
            raise UsageError(
                f"{one.told} and {other.told} contradict each other about {key}",
                hint="give one of them",
            )


def _value(key: str, raw: str) -> Any:
    if not holds_text(key.split(".")):
        return read_yaml(raw, told=f"the value of --set {key}={raw}")
    try:
        value = read_yaml(raw, told=raw)
    except UsageError:
        return raw
    # a quoted text loses its quotes; a bare number or list was meant as it stands
    return value if value is None or isinstance(value, str) else raw
