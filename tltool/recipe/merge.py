"""Merge recipes as nested dictionaries, before validation: bases, overrides and conflicts."""

from pathlib import Path
from typing import Any

from tltool.errors import UsageError
from tltool.recipe.source_text import anchored, anchored_backbone
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


def nested(tree: Tree) -> Tree:
    """Return a tree whose dotted keys, such as ``train.head.epochs``, are sections in sections.

    Raises:
        UsageError: a value is set twice, or a mapping contains itself.

    Examples:
        >>> nested({"train.head.epochs": 3, "train": {"ema": 0.9}})
        {'train': {'head': {'epochs': 3}, 'ema': 0.9}}
    """
    return _nested(tree, {})


def _nested(tree: Tree, known: dict[int, Tree | None]) -> Tree:
    """Do ``nested``; ``known`` holds what was done, so that an alias is not unfolded twice."""
    if id(tree) in known:
        done = known[id(tree)]
        if done is None:
            raise UsageError("a mapping contains itself", hint="remove the alias inside it")
        return done
    known[id(tree)] = None
    result: Tree = {}
    for key, value in tree.items():
        below = _nested(value, known) if isinstance(value, dict) else value
        parts = key.split(".") if isinstance(key, str) else [key]
        if not all(parts):  # such as `train..ema`: reported as an unknown key
            parts = [key]
        for part in reversed(parts):
            below = {part: below}
        twice = _overlap(result, below)
        if twice is not None:
            raise UsageError(f"the key {twice} is set twice", hint="keep one of the two")
        result = merged(result, below)
    known[id(tree)] = result
    return result


def _overlap(one: Tree, other: Tree) -> str | None:
    """Return the dotted path of a value that two trees both set; None if there is none."""
    for key in one.keys() & other.keys():
        a, b = one[key], other[key]
        if not (isinstance(a, dict) and isinstance(b, dict)):
            return str(key)
        deeper = _overlap(a, b)
        if deeper is not None:
            return f"{key}.{deeper}"
    return None


def expand_shorthands(tree: Tree, *, folder: Path) -> Tree:
    """Return a tree with shorthands expanded and paths of data made absolute, ready to merge.

    Args:
        tree: a recipe, or a part of one; it is not modified.
        folder: folder that relative paths of data are relative to.

    Raises:
        UsageError: as ``nested``.
    """
    own = nested(tree)
    train, data, model = own.get("train"), own.get("data"), own.get("model")
    if isinstance(train, dict) and "cache" in train:
        own["train"] = {**train, "cache": cache_shorthand(train["cache"])}
    if isinstance(data, dict):
        paths = {key: data[key] for key in ("source", "ood_images") if _is_path(key, data.get(key))}
        own["data"] = {**data, **{key: anchored(path, folder) for key, path in paths.items()}}
    if isinstance(model, dict):
        backbone = model.get("backbone")
        if isinstance(backbone, str):
            own["model"] = {**model, "backbone": anchored_backbone(backbone, folder)}
    return own


def _is_path(key: str, value: Any) -> bool:
    """Whether a value names images by their path; a bare `data.ood_images` names a class folder."""
    if not isinstance(value, str) or not value:
        return False
    return key == "source" or "/" in value or "\\" in value
