"""Overrides of single recipe keys from the command line, as in ``--set train.head.epochs=3``."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

from tltool.errors import UsageError
from tltool.recipe.key_paths import holds_text
from tltool.recipe.merge import Tree, expand_shorthands, find_conflict
from tltool.recipe.yaml_text import read_yaml


@dataclass(frozen=True)
class Override:
    """One key with its value.

    Attributes:
        key: dotted path, such as ``train.head.epochs``.
        value: as YAML gives it; a map is merged.
        source: the option that set it, such as ``--seed 3``, for messages.
        by_user: whether the user chose the value; else it follows from another option.
    """

    key: str
    value: Any
    source: str
    by_user: bool = True

    def tree(self) -> Tree:
        """Return a recipe with this key alone; paths are relative to the working folder."""
        tree = self.value
        for part in reversed(self.key.split(".")):
            tree = {part: tree}
        return expand_shorthands(tree, folder=Path())


def parse_override(text: str) -> Override:
    """Return ``key=value`` as an override; the schema decides whether 007 is a text or a number.

    Raises:
        UsageError: no key, a key that only recipe files have, or a value that is not YAML.
    """
    key, sign, raw = text.partition("=")
    key = key.strip()
    if not sign or not key:
        raise UsageError(f"--set {text}: expected key=value", hint="such as train.head.epochs=3")
    if key == "base":
        raise UsageError(
            f"--set {text}: base is only allowed in a recipe file",
            hint=f"to start from another recipe: --recipe {raw}",
        )
    return Override(key, _value(key, raw), f"--set {text}")


def check_conflicts(overrides: Sequence[Override]) -> None:
    """Check that no two overrides contradict each other; setting one value twice is fine.

    Raises:
        UsageError: two overrides set a key to different values, or one sets a key inside a section
            that the other sets to a plain value.
    """
    for one, other in combinations(overrides, 2):
        key = find_conflict(one.tree(), other.tree())
        if key is not None:
            raise UsageError(
                f"{one.source} and {other.source} set different values for {key}",
                hint="keep one of them",
            )


def _value(key: str, raw: str) -> Any:
    if not holds_text(key.split(".")):
        return read_yaml(raw, origin=f"the value of --set {key}={raw}")
    try:
        value = read_yaml(raw, origin=raw)
    except UsageError:
        return raw
    # a quoted text loses its quotes; an unquoted number or list is taken as text
    return value if value is None or isinstance(value, str) else raw
