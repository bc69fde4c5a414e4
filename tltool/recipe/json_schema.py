"""The recipe schema as JSON Schema, for completion and validation in editors."""

import json
from pathlib import Path
from typing import Any

from tltool.errors import UsageError
from tltool.recipe.schema import Recipe
from tltool.storage.durable import write_durably

_TITLE = "Recipe of tltool"
_BASE = {
    "anyOf": [{"type": "string"}, {"type": "null"}],
    "default": None,
    "description": "The recipe to inherit from: the name of a shipped recipe, or a file, searched "
    "for beside this one first.",
}


def json_schema() -> dict[str, Any]:
    """Return the JSON Schema (draft 2020-12) of recipe files.

    It covers the keys of a resolved recipe and what only files have: `base:`, and
    `train.cache: auto | on | off`.
    """
    schema = Recipe.model_json_schema()
    keys = schema.pop("properties")
    del keys["name"]["default"]  # in a file the default is the file's name
    cache = schema["$defs"]["TrainSection"]["properties"]["cache"]
    cache["anyOf"] = [{"$ref": cache.pop("$ref")}, {"enum": ["auto", "on", "off", True, False]}]
    head = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": _TITLE,
        "properties": {"format": keys.pop("format"), "base": _BASE, **keys},
    }
    cleaned: dict[str, Any] = _cleaned(
        {**head, **{k: v for k, v in schema.items() if k not in head}}
    )
    return cleaned


def json_schema_text() -> str:
    """Return the JSON Schema as the text of its file."""
    return json.dumps(json_schema(), indent=2, ensure_ascii=False) + "\n"


def write_json_schema(file: Path) -> None:
    """Write the JSON Schema to ``file``, replacing an older one.

    Raises:
        UsageError: it cannot be written.
    """
    try:
        write_durably(file, json_schema_text().encode())
    except OSError as error:
        raise UsageError(f"'{file}' cannot be written: {error.strerror}") from None


def _cleaned(node: Any, *, names: bool = False) -> Any:
    """Return a schema with one-line descriptions and without entries that clutter an editor.

    With ``names`` the keys of ``node`` are names of properties or definitions.
    """
    if isinstance(node, list):
        return [_cleaned(entry) for entry in node]
    if not isinstance(node, dict):
        return node
    kept = node if names else {k: v for k, v in node.items() if not _is_noise(k, v)}
    return {
        key: " ".join(value.split())
        if key == "description" and isinstance(value, str)
        else _cleaned(value, names=not names and key in {"properties", "$defs"})
        for key, value in kept.items()
    }


def _is_noise(key: str, value: Any) -> bool:
    """Whether it clutters an editor: the class name of a section, or all its defaults at once."""
    made_title = key == "title" and value != _TITLE
    return made_title or (key == "default" and isinstance(value, dict))
