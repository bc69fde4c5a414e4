"""Read a recipe: inheritance by `base:`, overrides, and all mistakes at once."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from tltool.errors import UsageError, did_you_mean
from tltool.recipe import library
from tltool.recipe.keys import all_keys, known_keys
from tltool.recipe.merge import layered, merged, written_out
from tltool.recipe.overrides import Override, check_conflicts, parse_override
from tltool.recipe.schema import FORMAT, Recipe
from tltool.recipe.section import Section
from tltool.recipe.yaml_text import one_line, read_yaml, write_yaml

_MOST_SHOWN = 200  # characters of a wrong value
_MOST_KEYS = 10  # of a section that an error lists


def load_recipe(reference: str, overrides: Sequence[str | Override] = ()) -> Recipe:
    """Return the recipe named or filed as ``reference``, with ``key=value`` overrides applied.

    ``model_fields_set`` of its sections is what the user said: neither defaults nor what a shipped
    recipe says.

    Args:
        reference: the name of a shipped recipe, the path of a YAML file, or the folder of a run.
        overrides: such as ``train.head.epochs=3`` or ``augment.mixup=null``, in any order.

    Raises:
        UsageError: no such recipe, broken YAML, overrides that contradict each other, or unknown
            keys and wrong values, all listed.
    """
    path = library.find(reference)
    tree = _resolve(path, ())
    tree.setdefault("name", path.stem)
    parsed = [parse_override(o) if isinstance(o, str) else o for o in overrides]
    check_conflicts(parsed)
    together: dict[str, Any] = {}
    for override in parsed:
        together = merged(together, override.tree())
    recipe = validate(layered(tree, together), source=str(reference))
    _mark_said(recipe, merged(_said(path), together))
    return recipe


def validate(tree: dict[str, Any], *, source: str) -> Recipe:
    """Return the recipe described by a nested dictionary.

    Raises:
        UsageError: listing every unknown key and wrong value with its path.
    """
    try:
        return Recipe.model_validate(tree)
    except ValidationError as error:
        lines = [_explain(dict(problem)) for problem in error.errors() if not _of_auto(problem)]
        listed = lines[0] if len(lines) == 1 else "\n".join(["", *(f"  {line}" for line in lines)])
        raise UsageError(
            f"recipe '{source}': {listed}",
            hint="`tltool recipes show vgg16 --resolved` shows every key",
        ) from None


def to_yaml(recipe: Recipe) -> str:
    """Return the fully resolved recipe as YAML text; loading it gives the same recipe."""
    return write_yaml(recipe.model_dump(mode="json"))


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
    tree = _resolve(_find_base(path, base), (*chain, path.resolve()))
    tree.pop("name", None)
    return layered(tree, own)


def _said(path: Path) -> dict[str, Any]:
    """Return the tree of a file and its bases, as far as they are the user's own."""
    if path.parent == library.shipped_folder():
        return {}
    own = _read(path)
    base = own.pop("base", None)
    return merged(_said(_find_base(path, base)), own) if base else own


def _mark_said(section: Section, tree: dict[str, Any]) -> None:
    section.model_fields_set.intersection_update(tree)
    for name, inner in vars(section).items():  # no key counts as read for this
        said = tree.get(name)
        if isinstance(inner, Section):
            _mark_said(inner, said if isinstance(said, dict) else {})


def _find_base(path: Path, base: str) -> Path:
    beside = path.parent / base
    if beside.is_file():
        return beside
    try:
        return library.find(base)
    except UsageError as error:
        raise UsageError(f"recipe '{path}', base: {error.message}", hint=error.hint) from None


def _read(path: Path) -> dict[str, Any]:
    tree = read_yaml(library.read_text(path), told=f"recipe '{path}'")
    if tree is None:
        return {}
    if not isinstance(tree, dict):
        raise UsageError(
            f"recipe '{path}' is not a map of keys to values but a {type(tree).__name__}",
            hint="`tltool recipes copy vgg16 my.yaml` gives a file to start from",
        )
    _check_format(path, tree.get("format"))
    return written_out(tree, folder=path.parent)


def _check_format(path: Path, found: object) -> None:
    """Refuse a recipe of a later version before its new keys are called unknown."""
    if isinstance(found, int) and found > FORMAT:
        raise UsageError(
            f"recipe '{path}' comes from a later version of tltool: its format is {found}, "
            f"this version reads {FORMAT}",
            hint="install a newer tltool",
        )


def _of_auto(problem: Any) -> bool:
    """Whether it says that a section is not `auto`: what is wrong with the section is told too."""
    return bool(problem["loc"]) and problem["loc"][-1] == "literal['auto']"


def _explain(problem: dict[str, Any]) -> str:
    # pydantic names the class beside the key where a section may also be auto
    location = [str(part) for part in problem["loc"] if not str(part).endswith("Section")]
    where = ".".join(location)
    if problem["type"] == "extra_forbidden":
        known = known_keys(location[:-1])
        section = "".join(f"{part}." for part in location[:-1])
        near = did_you_mean(location[-1], known, prefix=section) or _elsewhere(location[-1])
        return f"unknown key '{where}'.{near or _listed(known, '.'.join(location[:-1]))}"
    got = _shortened(one_line(problem["input"]))
    if problem["type"] == "model_type":
        keys = ", ".join(known_keys(location))
        return f"{where}: a map of keys to values is wanted, got {got} (its keys: {keys})"
    near = ""
    if problem["type"] == "literal_error" and isinstance(problem["input"], str):
        known = re.findall(r"'([^']*)'", problem["ctx"]["expected"])
        near = did_you_mean(problem["input"], known)
    return f"{where}: {problem['msg']}, got {got}{'.' if near else ''}{near}"


def _listed(known: Sequence[str], section: str) -> str:
    if len(known) <= _MOST_KEYS:
        return f" Known here: {', '.join(known)}."
    return f" None of the {len(known)} keys of '{section}' is like it."


def _shortened(text: str) -> str:
    return text if len(text) <= _MOST_SHOWN else f"{text[:_MOST_SHOWN]}…"


def _elsewhere(leaf: str) -> str:
    """Return a did-you-mean over the whole schema, for a key put into the wrong section."""
    paths = [path for path in all_keys() if path.rsplit(".", 1)[-1] == leaf]
    return f" Did you mean '{paths[0]}'?" if paths else ""
