"""Update the generated parts of the documentation, or check that they match the code.

``python docs/generate.py`` writes them, ``--check`` exits 1 and names every file that differs. A
generated part is between ``<!-- generated: NAME -->`` and ``<!-- end generated -->``; the rest
of each page is written by hand. The pages of commands, the JSON Schema of recipes and the picture
of the architecture are generated as a whole. TensorFlow is not imported, and the terminal has no
effect on the result.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from drawn import architecture
from generators.commands import command_pages, command_table, navigation, shared_options
from generators.markdown import sentence as _sentence
from generators.markdown import table as _table

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
    "docs/commands/README.md",
    "docs/offline.md",
    "docs/recipes.md",
    "mkdocs.yml",
)
COMMANDS = "docs/commands"
WHOLE: Mapping[str, Callable[[], str]] = {  # files that are generated as a whole
    "recipes/recipe.schema.json": json_schema_text,
    "docs/images/architecture.svg": lambda: architecture.picture(ROOT),
    **{f"{COMMANDS}/{name}": partial(str, text) for name, text in command_pages().items()},
}
PART = re.compile(  # in Markdown, or in the comments of YAML
    r"(?P<begin>(?:<!--|#) generated: (?P<name>[a-z-]+)(?: -->)?\n).*?"
    r"(?P<end>^ *(?:<!--|#) end generated)",
    re.DOTALL | re.MULTILINE,
)


def main(arguments: Sequence[str]) -> int:
    """Write every page, or with ``--check`` only compare; return the exit code."""
    check = "--check" in arguments
    stale = [name for name in (*PAGES, *WHOLE) if not _bring_up_to_date(name, check=check)]
    stale += [name for name in _pages_of_removed_commands() if not _removed(name, check=check)]
    for name in stale if check else ():
        sys.stderr.write(f"{name} does not match the code; update it with: make docs\n")
    return 1 if check and stale else 0


def _bring_up_to_date(name: str, *, check: bool) -> bool:
    """Return whether a file was up to date; write it if it was not, unless ``check``."""
    page = ROOT / name
    old = page.read_text(encoding="utf-8") if page.exists() else ""
    new = WHOLE[name]() if name in WHOLE else PART.sub(_with_fresh_body, old)
    if new != old and not check:
        page.write_text(new, encoding="utf-8")
    return new == old


def _pages_of_removed_commands() -> list[str]:
    pages = {path.name for path in (ROOT / COMMANDS).glob("*.md")} - {"README.md"}
    return [f"{COMMANDS}/{name}" for name in sorted(pages - set(command_pages()))]


def _removed(name: str, *, check: bool) -> bool:
    if not check:
        (ROOT / name).unlink()
    return not check


def _with_fresh_body(part: re.Match[str]) -> str:
    body = GENERATORS[part["name"]]().strip("\n")
    gap = "\n" if "<!--" in part["begin"] else ""
    return f"{part['begin']}{gap}{body}\n{gap}{part['end']}"


def _recipes() -> str:
    rows = []
    for name, summary in shipped():
        text = (shipped_folder() / f"{name}.yaml").read_text(encoding="utf-8")
        whom = re.search(r"^# For: (.*(?:\n#  .*)*)", text, re.MULTILINE)
        rows.append([f"`{name}`", summary, _sentence(whom[1].replace("#", "")) if whom else ""])
    return _table(["recipe", "description", "intended for"], rows)


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
        "multiply-adds",
        "training size",
        "minimum size",
        "stages",
        "preprocessing",
        "licence of weights",
        "paper",
    ]
    rows = [
        [
            f"`{backbone.name}`",
            _count(backbone.parameters),
            f"{backbone.multiply_adds / 1e9:.2f} G"
            if backbone.multiply_adds >= 10_000_000
            else _count(backbone.multiply_adds),
            f"{backbone.image_size}",
            f"{backbone.min_size}",
            ", ".join(f"`{stage.name}`" for stage in backbone.stages),
            backbone.preprocessing,
            backbone.licence or "no weights",
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
    return _table(["package or module", "content"], rows)


def _decisions() -> str:
    """Return the lines of mkdocs.yml that list the decisions, by their headings."""
    pages = sorted((ROOT / "docs/decisions").glob("[0-9]*.md"))
    headings = [page.read_text(encoding="utf-8").partition("\n")[0] for page in pages]
    return "\n".join(
        f"          - {json.dumps(heading.removeprefix('# '))}: decisions/{page.name}"
        for heading, page in zip(headings, pages, strict=True)
    )


GENERATORS: Mapping[str, Callable[[], str]] = {
    "backbones": _backbones,
    "rooms": _rooms,
    "commands-navigation": navigation,
    "decisions-navigation": _decisions,
    "recipe-keys": _recipe_keys,
    "recipes": _recipes,
    "shared-options": shared_options,
    "verbs": lambda: command_table(""),
    "verbs-readme": lambda: command_table("docs/commands/"),
    "weights": _weights,
}

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
