"""Recipes as nested dictionaries, before the schema has seen them: how they merge and clash."""

from pathlib import Path
from typing import Any

from tltool.recipe.schema import cache_shorthand
from tltool.recipe.source_text import anchored

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


def layered(below: Tree, over: Tree) -> Tree:
    """Return ``over`` on top of the recipe ``below``; a policy replaces its augmentation whole."""
    section = over.get("augment")
    if isinstance(section, dict) and "policy" in section:
        below = {key: value for key, value in below.items() if key != "augment"}
    return merged(below, over)


def clash(one: Tree, other: Tree) -> str | None:
    """Return the dotted path at which two trees cannot both be meant; None when they can."""
    for key in one.keys() & other.keys():
        a, b = one[key], other[key]
        if isinstance(a, dict) and isinstance(b, dict):
            deeper = clash(a, b)
            if deeper:
                return f"{key}.{deeper}"
        elif a != b:
            return str(key)
    return None


def written_out(tree: Tree, *, folder: Path) -> Tree:
    """Return a tree with its shorthands spelled out, so that they merge as what they stand for.

    Args:
        tree: a recipe, or a part of one; it stays as it is.
        folder: where relative paths of images start.
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
