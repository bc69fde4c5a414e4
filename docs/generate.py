"""Write the generated parts of the documentation, or check that they are as the code says.

``python docs/generate.py`` writes them, ``--check`` exits 1 and names every file that differs. A
generated part stands between ``<!-- generated: NAME -->`` and ``<!-- end generated -->``; the rest
of each page is written by hand. The JSON Schema of recipes and the picture of the architecture are
generated as a whole. TensorFlow is not imported, and the width or colour of the terminal changes
nothing.
"""

from __future__ import annotations

import html
import json
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import typer
from drawn import architecture
from typer.cli import get_docs_for_click

from tltool.cli.main import app
from tltool.models.backbone_registry import listed_backbones
from tltool.recipe.json_schema import json_schema_text
from tltool.recipe.library import shipped, shipped_folder
from tltool.recipe.schema import Recipe
from tltool.weights.published import PUBLISHED, Download

ROOT = Path(__file__).resolve().parent.parent
PAGES = (
    "README.md",
    "docs/architecture.md",
    "docs/backbones.md",
    "docs/cli.md",
    "docs/offline.md",
    "docs/recipes.md",
)
WHOLE: Mapping[str, Callable[[], str]] = {  # files that are generated as a whole
    "recipes/recipe.schema.json": json_schema_text,
    "docs/images/architecture.svg": lambda: architecture.picture(ROOT),
}
PART = re.compile(
    r"(?P<begin><!-- generated: (?P<name>[a-z-]+) -->\n).*?(?P<end><!-- end generated -->)",
    re.DOTALL,
)


def main(arguments: Sequence[str]) -> int:
    """Write every page, or with ``--check`` only compare; return the exit code."""
    check = "--check" in arguments
    stale = [name for name in (*PAGES, *WHOLE) if not _bring_up_to_date(name, check=check)]
    for name in stale if check else ():
        sys.stderr.write(f"{name} is not what the code says; write it with: make docs\n")
    return 1 if check and stale else 0


def _bring_up_to_date(name: str, *, check: bool) -> bool:
    """Return whether a file was up to date; write it if it was not, unless ``check``."""
    page = ROOT / name
    old = page.read_text(encoding="utf-8") if page.exists() else ""
    new = WHOLE[name]() if name in WHOLE else PART.sub(_with_fresh_body, old)
    if new != old and not check:
        page.write_text(new, encoding="utf-8")
    return new == old


def _with_fresh_body(part: re.Match[str]) -> str:
    body = GENERATORS[part["name"]]().strip()
    return f"{part['begin']}\n{body}\n\n{part['end']}"


def _table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join(
        f"| {' | '.join(cell.replace('|', '&#124;') for cell in row)} |" for row in lines
    )


def _sentence(text: str) -> str:
    """Return a docstring as one line."""
    return " ".join(text.split())


def _commands() -> Iterator[tuple[str, Any, typer.Context]]:
    """Yield (words after ``tltool``, command, context) of every command that does something."""
    yield from _leaves(typer.main.get_command(app), [], None)


def _leaves(command: Any, words: list[str], parent: Any) -> Iterator[tuple[str, Any, Any]]:
    name = words[-1] if words else "tltool"
    context = typer.Context(command, info_name=name, parent=parent, **command.context_settings)
    if not hasattr(command, "list_commands"):
        yield " ".join(words), command, context
        return
    for verb in command.list_commands(context):
        yield from _leaves(command.get_command(context, verb), [*words, verb], context)


def _verbs(link: str) -> str:
    rows = []
    for words, command, _ in _commands():
        anchor = f"tltool-{words.replace(' ', '-')}"
        rows.append([f"[`tltool {words}`]({link}#{anchor})", _sentence(command.help)])
    return _table(["command", "what it does"], rows)


def _command_reference() -> str:
    """Return Typer's own documentation of every command, one section each."""
    sections = []
    for words, command, context in _commands():
        *before, _ = ["tltool", *words.split()]
        text = get_docs_for_click(obj=command, ctx=context, indent=1, call_prefix=" ".join(before))
        sections.append(html.unescape(text).strip())
    return "\n\n".join(sections)


def _recipes() -> str:
    rows = []
    for name, summary in shipped():
        text = (shipped_folder() / f"{name}.yaml").read_text(encoding="utf-8")
        whom = re.search(r"^# For: (.*(?:\n#  .*)*)", text, re.MULTILINE)
        rows.append([f"`{name}`", summary, _sentence(whom[1].replace("#", "")) if whom else ""])
    return _table(["recipe", "what it does", "for whom"], rows)


def _recipe_keys() -> str:
    """Return one table per section of the schema, in its order."""
    schema = Recipe.model_json_schema()
    return "\n\n".join(_section(schema, schema, ""))


def _section(schema: Mapping[str, Any], section: Mapping[str, Any], prefix: str) -> Iterator[str]:
    rows, below = [], []
    for name, entry in section["properties"].items():
        inner = _reference(entry)
        if inner:
            below.append((f"{prefix}{name}", schema["$defs"][inner], entry))
        else:
            meaning = _sentence(entry.get("description", ""))
            default = f"`{json.dumps(entry['default'])}`".replace('"', "")
            rows.append([f"`{prefix}{name}`", _values(entry), default, meaning])
    if rows:
        yield _table(["key", "values", "default", "meaning"], rows)
    for path, inner_section, entry in below:
        yield f"{'#' * (3 + path.count('.'))} `{path}`"
        yield f"{_sentence(inner_section['description'])}{_off_by_default(entry)}"
        yield from _section(schema, inner_section, f"{path}.")


def _off_by_default(entry: Mapping[str, Any]) -> str:
    if entry["default"] == "auto":
        return " `auto` by default: as the policy has it; `null` is off, a key of it or `{}` is on."
    if entry["default"] is not None:
        return ""
    return " Off by default (`null`); a key of it, or `{}`, switches it on."


def _reference(entry: Mapping[str, Any]) -> str:
    """Return the name of the section that a property holds, or ``""`` when it holds a value."""
    for option in (entry, *entry.get("anyOf", ()), *entry.get("allOf", ())):
        if "$ref" in option:
            return str(option["$ref"]).rsplit("/", 1)[-1]
    return ""


def _values(entry: Mapping[str, Any]) -> str:
    """Return the type and range of a property in words."""
    if "anyOf" in entry:
        return " or ".join(_values(option) for option in entry["anyOf"])
    if "enum" in entry:
        return ", ".join(f"`{value}`" for value in entry["enum"])
    if entry["type"] == "array":
        return f"{entry['minItems']} to {entry['maxItems']} of: {_values(entry['items'])}"
    names = {"integer": "whole number", "string": "text", "boolean": "`true`, `false`"}
    words = "`null`" if entry["type"] == "null" else names.get(entry["type"], entry["type"])
    return f"{words}{_bounds(entry)}"


def _bounds(entry: Mapping[str, Any]) -> str:
    marks = {"minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤", "exclusiveMaximum": "<"}
    bounds = [f"{sign} {entry[key]:,}" for key, sign in marks.items() if key in entry]
    return f" {', '.join(bounds)}" if bounds else ""


def _backbones() -> str:
    columns = [
        "backbone",
        "parameters without classifier",
        "training size",
        "minimum size",
        "stages",
        "preprocessing",
        "paper",
    ]
    rows = [
        [
            f"`{backbone.name}`",
            _count(backbone.parameters),
            f"{backbone.image_size}",
            f"{backbone.min_size}",
            ", ".join(f"`{stage.name}`" for stage in backbone.stages),
            backbone.preprocessing,
            "[{}]({})".format(*backbone.paper.split(", ")),
        ]
        for backbone in listed_backbones()
    ]
    return _table(columns, rows)


def _count(number: int) -> str:
    return f"{number / 1e6:.1f} M" if number >= 100_000 else f"{number:,}"


def _weights() -> str:
    rows = []
    for name, published in PUBLISHED.items():
        origins = [
            f"[{origin.where}]({origin.url})"
            if isinstance(origin, Download)
            else f"package index, `{origin.requirement}`"
            for origin in published.origins
        ]
        rows.append([f"`{name}`", ", then ".join(origins), published.licence])
    return _table(["backbone", "source", "licence"], rows)


def _rooms() -> str:
    rows = [[f"`{path}`", text] for path, text in architecture.rooms(ROOT)]
    return _table(["where", "what is there"], rows)


GENERATORS: Mapping[str, Callable[[], str]] = {
    "backbones": _backbones,
    "rooms": _rooms,
    "commands": _command_reference,
    "recipe-keys": _recipe_keys,
    "recipes": _recipes,
    "verbs": lambda: _verbs(""),
    "verbs-readme": lambda: _verbs("docs/cli.md"),
    "weights": _weights,
}

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
