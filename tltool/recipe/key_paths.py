"""The keys of the schema by their dotted paths."""

import types
from collections.abc import Sequence
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel

from tltool.recipe.schema import Recipe


def all_keys() -> list[str]:
    """Return the dotted path of every key of the schema that holds a value."""
    return _paths(Recipe, "")


def known_keys(location: Sequence[str]) -> list[str]:
    """Return the keys of the section at ``location`` (empty for the top level)."""
    section = _section_at(location)
    return list(section.model_fields) if section else []


def holds_text(location: Sequence[str]) -> bool:
    """Whether the key at ``location`` accepts arbitrary text, such as a name or a path."""
    section = _section_at(location[:-1])
    field = section.model_fields.get(location[-1]) if section else None
    return field is not None and str in _options(field.annotation)


def _paths(section: type[BaseModel], prefix: str) -> list[str]:
    paths = []
    for name, field in section.model_fields.items():
        inner = _model_of(field.annotation)
        paths += _paths(inner, f"{prefix}{name}.") if inner else [f"{prefix}{name}"]
    return paths


def _section_at(location: Sequence[str]) -> type[BaseModel] | None:
    section: type[BaseModel] | None = Recipe
    for part in location:
        if section is None or part not in section.model_fields:
            return None
        section = _model_of(section.model_fields[part].annotation)
    return section


def _model_of(annotation: Any) -> type[BaseModel] | None:
    """Return the section class inside ``Section`` or ``Section | None``."""
    models = [o for o in _options(annotation) if isinstance(o, type) and issubclass(o, BaseModel)]
    return models[0] if models else None


def _options(annotation: Any) -> list[Any]:
    """Return the types that an annotation allows."""
    if get_origin(annotation) is Annotated:
        return _options(get_args(annotation)[0])
    if get_origin(annotation) in (Union, types.UnionType):
        return [option for part in get_args(annotation) for option in _options(part)]
    return [annotation]
