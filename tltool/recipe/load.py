"""Read a recipe: YAML, inheritance by `base:`, `key=value` overrides, all mistakes at once."""

import types
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Union, get_args, get_origin

import yaml
from pydantic import BaseModel, ValidationError

from tltool.errors import UsageError, did_you_mean
from tltool.recipe import library
from tltool.recipe.schema import Recipe

_BOOLEAN_KEYWORDS = {"on", "off", "yes", "no"}


class _StrictLoader(yaml.SafeLoader):
    """SafeLoader that refuses duplicate keys, which PyYAML would silently overwrite."""


def _mapping_without_duplicates(loader: _StrictLoader, node: yaml.MappingNode) -> dict[Any, Any]:
    seen = set()
    for key_node, _ in node.value:
        key = loader.construct_object(key_node, deep=True)
        if key in seen:
            raise UsageError(
                f"{node.start_mark.name}: the key '{key}' stands twice "
                f"(line {key_node.start_mark.line + 1})",
                hint="keep one of them",
            )
        seen.add(key)
    return loader.construct_mapping(node, deep=True)


_StrictLoader.add_constructor(
    yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _mapping_without_duplicates
)


def load_recipe(reference: str, overrides: Sequence[str] = ()) -> Recipe:
    """Return the recipe named or filed as ``reference``, with ``key=value`` overrides applied.

    Args:
        reference: the name of a shipped recipe or the path of a YAML file.
        overrides: such as ``train.head.epochs=3`` or ``augment.mixup=null``; the later one wins.

    Raises:
        UsageError: no such recipe, broken YAML, or unknown keys and wrong values, all listed.
    """
    path = library.find(reference)
    tree = _resolve(path, ())
    if "name" not in tree:
        tree["name"] = path.stem
    for override in overrides:
        _merge(tree, _parse_override(override))
    return validate(tree, source=str(reference))


def validate(tree: dict[str, Any], *, source: str) -> Recipe:
    """Return the recipe described by a nested dictionary.

    Raises:
        UsageError: listing every unknown key and wrong value with its path.
    """
    try:
        return Recipe.model_validate(tree)
    except ValidationError as error:
        lines = [_explain(dict(problem)) for problem in error.errors()]
        listed = lines[0] if len(lines) == 1 else "\n".join(["", *(f"  {line}" for line in lines)])
        raise UsageError(
            f"recipe '{source}': {listed}",
            hint="`tltool recipes show vgg16 --resolved` shows every key",
        ) from None


def to_yaml(recipe: Recipe) -> str:
    """Return the fully resolved recipe as YAML text; loading it gives the same recipe."""
    return yaml.safe_dump(recipe.model_dump(mode="json"), sort_keys=False, allow_unicode=True)


def _resolve(path: Path, chain: tuple[Path, ...]) -> dict[str, Any]:
    """Return the tree of a file merged over that of its `base:`."""
    if path.resolve() in chain:
        names = " -> ".join(p.name for p in (*chain, path.resolve()))
        raise UsageError(f"recipe '{path}': base recipes go in a circle: {names}")
    own = _read(path)
    base = own.pop("base", None)
    if base is None:
        return own
    if not isinstance(base, str):
        raise UsageError(f"recipe '{path}': base must be one recipe's name or file, not {base!r}")
    beside = path.parent / base
    base_path = beside if beside.is_file() else library.find(base)
    tree = _resolve(base_path, (*chain, path.resolve()))
    tree.pop("name", None)
    _merge(tree, own)
    return tree


def _read(path: Path) -> dict[str, Any]:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"recipe '{path}' cannot be read: {error}") from None
    loader = _StrictLoader(text)
    loader.name = str(path)
    try:
        tree = loader.get_single_data()
    except yaml.YAMLError as error:
        raise UsageError(f"recipe '{path}' is not valid YAML: {_one_line(error)}") from None
    if tree is None:
        return {}
    if not isinstance(tree, dict):
        raise UsageError(
            f"recipe '{path}' is not a map of keys to values but a {type(tree).__name__}",
            hint="`tltool recipes copy vgg16 my.yaml` gives a file to start from",
        )
    return tree


def _one_line(error: yaml.YAMLError) -> str:
    mark = getattr(error, "problem_mark", None)
    where = f" (line {mark.line + 1}, column {mark.column + 1})" if mark else ""
    problem = getattr(error, "problem", None) or str(error).split("\n", 1)[0]
    if "'\\t'" in problem:
        problem = "tabs are not allowed for indentation, use spaces"
    return f"{problem}{where}"


def _parse_override(text: str) -> dict[str, Any]:
    key, sign, raw = text.partition("=")
    if not sign or not key.strip():
        raise UsageError(f"--set {text}: expected key=value", hint="such as train.head.epochs=3")
    try:
        value = raw if raw in _BOOLEAN_KEYWORDS else yaml.load(raw, Loader=_StrictLoader)
    except yaml.YAMLError:
        value = raw
    tree: Any = value
    for part in reversed(key.strip().split(".")):
        tree = {part: tree}
    result: dict[str, Any] = tree
    return result


def _merge(tree: dict[str, Any], over: dict[str, Any]) -> None:
    """Merge ``over`` into ``tree``: maps key by key, everything else (lists too) replaced."""
    for key, value in over.items():
        below = tree.get(key)
        if isinstance(below, dict) and isinstance(value, dict):
            _merge(below, value)
        else:
            tree[key] = value


def _explain(problem: dict[str, Any]) -> str:
    location = [str(part) for part in problem["loc"]]
    where = ".".join(location)
    if problem["type"] == "extra_forbidden":
        known = known_keys(location[:-1])
        section = "".join(f"{part}." for part in location[:-1])
        near = did_you_mean(location[-1], known, prefix=section) or _elsewhere(location[-1])
        return f"unknown key '{where}'.{near or ' Known here: ' + ', '.join(known) + '.'}"
    return f"{where}: {problem['msg']}, got {problem['input']!r}"


def _elsewhere(leaf: str) -> str:
    """Return a did-you-mean over the whole schema, for a key put into the wrong section."""
    paths = [path for path in all_keys() if path.rsplit(".", 1)[-1] == leaf]
    return f" Did you mean '{paths[0]}'?" if paths else ""


def known_keys(location: Sequence[str]) -> list[str]:
    """Return the keys of the section at ``location`` (empty for the top level)."""
    section = _section_at(location)
    return list(section.model_fields) if section else []


def all_keys() -> list[str]:
    """Return the dotted path of every key of the schema that holds a value."""
    return _paths(Recipe, "")


def _paths(section: type[BaseModel], prefix: str) -> list[str]:
    found = []
    for name, field in section.model_fields.items():
        inner = _model_of(field.annotation)
        found += _paths(inner, f"{prefix}{name}.") if inner else [f"{prefix}{name}"]
    return found


def _section_at(location: Sequence[str]) -> type[BaseModel] | None:
    section: type[BaseModel] | None = Recipe
    for part in location:
        if section is None or part not in section.model_fields:
            return None
        section = _model_of(section.model_fields[part].annotation)
    return section


def _model_of(annotation: Any) -> type[BaseModel] | None:
    """Return the section class inside ``Section`` or ``Section | None``."""
    options = get_args(annotation) if _is_union(annotation) else (annotation,)
    models = [o for o in options if isinstance(o, type) and issubclass(o, BaseModel)]
    return models[0] if models else None


def _is_union(annotation: Any) -> bool:
    return get_origin(annotation) in (Union, types.UnionType)
