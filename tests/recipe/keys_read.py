"""Which keys of the schema the package's source reads, by static analysis."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

from pydantic import BaseModel

import tltool
from tltool.recipe.schema import Recipe

PACKAGE = Path(tltool.__file__).parent
Places = frozenset[str]  # dotted paths, "" for the recipe itself


def keys_read() -> set[str]:
    """Return the dotted path of every attribute of a recipe that code outside its room reads.

    A recipe is a parameter annotated with Recipe, or an attribute called ``recipe``; a section is a
    parameter annotated with its class. Names that such values are assigned to are followed.
    """
    found: set[str] = set()
    for path in sorted(PACKAGE.rglob("*.py")):
        if path.parent.name != "recipe":
            for function in _outer_functions(ast.parse(path.read_text("utf-8"))):
                found |= _read_in(function)
    return found


def _outer_functions(node: ast.AST) -> Iterator[ast.FunctionDef]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.FunctionDef):
            yield child
        else:
            yield from _outer_functions(child)


def _read_in(function: ast.FunctionDef) -> set[str]:
    known: dict[str, Places] = {}
    for node in ast.walk(function):
        if isinstance(node, ast.arg) and isinstance(node.annotation, ast.Name):
            known[node.arg] = PLACES.get(node.annotation.id, frozenset())
    assignments = [node for node in ast.walk(function) if isinstance(node, ast.Assign)]
    for node in sorted(assignments, key=lambda node: node.lineno):
        for target, value in _pairs(node.targets[0], node.value):
            known[target] = _places(value, known)
    attributes = [node for node in ast.walk(function) if isinstance(node, ast.Attribute)]
    return {place for node in attributes for place in _places(node, known)}


def _pairs(target: ast.expr, value: ast.expr) -> Iterator[tuple[str, ast.expr]]:
    if isinstance(target, ast.Name):
        yield target.id, value
    elif isinstance(target, ast.Tuple) and isinstance(value, ast.Tuple):
        for one, other in zip(target.elts, value.elts, strict=True):
            yield from _pairs(one, other)


def _places(node: ast.expr, known: dict[str, Places]) -> Places:
    """Return where in the recipe an expression may stand; empty for everything else."""
    if isinstance(node, ast.Name):
        return known.get(node.id, frozenset())
    if not isinstance(node, ast.Attribute):
        return frozenset()
    if node.attr == "recipe":
        return frozenset({""})
    return frozenset(f"{at}.{node.attr}".lstrip(".") for at in _places(node.value, known))


def _places_of_classes(section: type[BaseModel], prefix: str) -> Iterator[tuple[str, str]]:
    yield section.__name__, prefix
    for name, field in section.model_fields.items():
        for inner in (field.annotation, *getattr(field.annotation, "__args__", ())):
            if isinstance(inner, type) and issubclass(inner, BaseModel):
                yield from _places_of_classes(inner, f"{prefix}.{name}".lstrip("."))


_FOUND = list(_places_of_classes(Recipe, ""))
PLACES = {name: frozenset(at for other, at in _FOUND if other == name) for name, _ in _FOUND}
