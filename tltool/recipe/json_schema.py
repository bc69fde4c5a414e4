"""The schema as JSON Schema, by which editors complete and check recipe files."""

import json
from pathlib import Path
from typing import Any

from tltool.errors import UsageError
from tltool.recipe.schema import Recipe

_TITLE = "Recipe of tltool"
_BASE = {
    "anyOf": [{"type": "string"}, {"type": "null"}],
    "default": None,
    "description": "The recipe to start from: the name of a shipped one, or a file, looked for "
    "beside this one first.",
}


def json_schema() -> dict[str, Any]:
    """Return the JSON Schema (draft 2020-12) of recipe files.

    Beside the keys of a resolved recipe it knows what only files have: `base:`, and
    `train.cache: auto | on | off`.
    """
    schema = Recipe.model_json_schema()
    keys = schema.pop("properties")
    del keys["name"]["default"]  # in a file it is the file's own
    cache = schema["$defs"]["TrainSection"]["properties"]["cache"]
    cache["anyOf"] = [{"$ref": cache.pop("$ref")}, {"enum": ["auto", "on", "off", True, False]}]
    head = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": _TITLE,
        "properties": {"format": keys.pop("format"), "base": _BASE, **keys},
    }
    plain: dict[str, Any] = _plain({**head, **{k: v for k, v in schema.items() if k not in head}})
    return plain


def json_schema_text() -> str:
    """Return the JSON Schema as the text of its file."""
    return json.dumps(json_schema(), indent=2, ensure_ascii=False) + "\n"


def write_json_schema(file: Path) -> None:
    """Write the JSON Schema to ``file``, over an older one.

    Raises:
        UsageError: it cannot be written.
    """
    try:
        file.write_text(json_schema_text(), encoding="utf-8")
    except OSError as error:
        raise UsageError(f"'{file}' cannot be written: {error.strerror}") from None


def _plain(node: Any, *, names: bool = False) -> Any:
    """Return a schema with its descriptions on one line and without what only fills editors.

    ``names`` says that the keys of ``node`` are names of properties or definitions.
    """
    if isinstance(node, list):
        return [_plain(entry) for entry in node]
    if not isinstance(node, dict):
        return node
    kept = node if names else {k: v for k, v in node.items() if not _is_noise(k, v)}
    return {
        key: " ".join(value.split())
        if key == "description" and isinstance(value, str)
        else _plain(value, names=not names and key in {"properties", "$defs"})
        for key, value in kept.items()
    }


def _is_noise(key: str, value: Any) -> bool:
    """Whether an editor would only show it in the way: the class of a section, all its defaults."""
    made_title = key == "title" and value != _TITLE
    return made_title or (key == "default" and isinstance(value, dict))
