"""Merge recipes as nested dictionaries, before validation: bases, overrides and conflicts."""

from pathlib import Path
from typing import Any

from tltool.recipe.source_text import anchored
from tltool.recipe.train_section import cache_shorthand

Tree = dict[str, Any]


def merged(below: Tree, over: Tree) -> Tree:
    """Return ``over`` on top of ``below``: maps key by key, all else (lists too) replaced."""
    tree = dict(below)
    for key, value in over.items():
        known = below.get(key)
        if isinstance(known, dict) and isinstance(value, dict):
            value = merged(known, value)
        tree[key] = value
    return tree


def merged_recipes(below: Tree, over: Tree) -> Tree:
    """Return ``over`` on top of the recipe ``below``; a policy replaces its whole augmentation."""
    section = over.get("augment")
    if isinstance(section, dict) and "policy" in section:
        below = {key: value for key, value in below.items() if key != "augment"}
    return merged(below, over)


def find_conflict(one: Tree, other: Tree) -> str | None:
    """Return the dotted path that two trees set to different values; None if there is none."""
    for key in one.keys() & other.keys():
        a, b = one[key], other[key]
        if isinstance(a, dict) and isinstance(b, dict):
            deeper = find_conflict(a, b)
            if deeper:
                return f"{key}.{deeper}"
        elif a != b:
            return str(key)
    return None


def expand_shorthands(tree: Tree, *, folder: Path) -> Tree:
    """Return a tree with shorthands expanded and paths of data made absolute, ready to merge.

    Args:
        tree: a recipe, or a part of one; it is not modified.
        folder: folder that relative paths of data are relative to.
    """
    own = dict(tree)
    train, data = own.get("train"), own.get("data")
    if isinstance(train, dict) and "cache" in train:
        own["train"] = {**train, "cache": cache_shorthand(train["cache"])}
    if isinstance(data, dict):
        paths = {key: data[key] for key in ("source", "ood_images") if _is_path(key, data.get(key))}
        own["data"] = {**data, **{key: anchored(path, folder) for key, path in paths.items()}}
    return own


def _is_path(key: str, value: Any) -> bool:
    """Whether a value names images by their path; a bare `data.ood_images` names a class folder."""
    if not isinstance(value, str) or not value:
        return False
    return key == "source" or "/" in value or "\\" in value
