"""Load a recipe: resolve `base:`, apply overrides, validate, and report all errors at once."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import ValidationError

from tltool.errors import UsageError, did_you_mean
from tltool.recipe import library
from tltool.recipe.key_paths import all_keys, known_keys
from tltool.recipe.merge import Tree, expand_shorthands, merged, merged_recipes
from tltool.recipe.overrides import Override, check_conflicts, parse_override
from tltool.recipe.schema import FORMAT, PATTERNS, Recipe
from tltool.recipe.section import Section
from tltool.recipe.text_file import read_text
from tltool.recipe.yaml_text import one_line, read_yaml, write_yaml
from tltool.runs.layout import RunLayout

_MAX_VALUE_LENGTH = 200  # characters of a wrong value in a message
_TYPES = ("Section", "constrained-int")
_MAX_LISTED_KEYS = 10  # of a section in a message
# what other programs call a key
_OTHER_NAMES = {
    "lr": "learning_rate",
    "rate": "learning_rate",
    "epoch": "epochs",
    "bs": "batch_size",
    "batch": "batch_size",
    "size": "image_size",
    "img_size": "image_size",
    "imgsz": "image_size",
    "input_size": "image_size",
}


class RecipeFile(NamedTuple):
    """A recipe file merged over its bases, before any override.

    Attributes:
        reference: what names it.
        tree: all that the files set.
        user: as far as it is the user's own; what a shipped recipe sets is not.
    """

    reference: str
    tree: Tree
    user: Tree

    def recipe(self, overrides: Sequence[str | Override] = ()) -> Recipe:
        """Return the recipe with ``overrides`` applied, as ``load_recipe``.

        Raises:
            UsageError: overrides that contradict each other, unknown keys or wrong values.
        """
        parsed = [parse_override(o) if isinstance(o, str) else o for o in overrides]
        check_conflicts(parsed)
        together: Tree = {}
        by_user = self.user
        for override in parsed:
            together = merged(together, override.tree())
            if override.by_user:
                by_user = merged(by_user, override.tree())
        options = {one.key: one.source for one in parsed if not one.source.startswith("--set ")}
        tree = merged_recipes(self.tree, together)
        recipe = validate(tree, source=self.reference, options=options)
        _mark_user_set(recipe, by_user)
        return recipe


def load_recipe(reference: str, overrides: Sequence[str | Override] = ()) -> Recipe:
    """Return the recipe named or filed as ``reference``, with ``key=value`` overrides applied.

    ``model_fields_set`` of its sections is what the user set: neither defaults nor what a shipped
    recipe sets. Each file is read once.

    Args:
        reference: the name of a shipped recipe, the path of a YAML file, or the folder of a run.
        overrides: such as ``train.head.epochs=3`` or ``augment.mixup=null``, in any order.

    Raises:
        UsageError: no such recipe, broken YAML, overrides that contradict each other, or unknown
            keys and wrong values, all listed.
    """
    return read_recipe(reference).recipe(overrides)


def read_recipe(reference: str) -> RecipeFile:
    """Return the recipe named or filed as ``reference``, merged over its bases.

    Raises:
        UsageError: no such recipe, or broken YAML.
    """
    path = library.find(reference)
    tree, user = _read_layers(path, ())
    if RunLayout(path.parent).manifest.is_file():  # the name of a run is no name for another one
        user = {key: value for key, value in user.items() if key != "name"}
    return RecipeFile(str(reference), {"name": path.stem, **tree}, user)


def read_mapping(recipe: Mapping[str, Any]) -> RecipeFile:
    """Return the recipe of a dictionary as of a file: with its base, dotted keys and shorthands.

    Raises:
        UsageError: there is no such base, or a value is set twice.
    """
    own = expand_shorthands(dict(recipe), folder=Path())
    tree, user = _over_base(own, Path("dictionary"), ())
    return RecipeFile("dictionary", {"name": "custom", **tree}, user)


def validate(
    tree: dict[str, Any], *, source: str, options: Mapping[str, str] | None = None
) -> Recipe:
    """Return the recipe described by a nested dictionary.

    Args:
        tree: the dictionary.
        source: the name of the recipe in messages.
        options: the command-line option that set a key, for messages.

    Raises:
        UsageError: listing every unknown key and wrong value with its path.
    """
    try:
        return Recipe.model_validate(tree)
    except ValidationError as error:
        lines = [
            _explain(dict(problem), options or {})
            for problem in error.errors()
            if not _is_about_auto(problem)
        ]
        listed = lines[0] if len(lines) == 1 else "\n".join(["", *(f"  {line}" for line in lines)])
        raise UsageError(
            f"recipe '{source}': {listed}",
            hint=f"`tltool recipes show {_shipped(source)} --resolved` shows every key",
        ) from None


def to_yaml(recipe: Recipe) -> str:
    """Return the fully resolved recipe as YAML text; loading it gives the same recipe."""
    return write_yaml(recipe.model_dump(mode="json"))


def _read_layers(path: Path, chain: tuple[Path, ...]) -> tuple[Tree, Tree]:
    """Return the tree of a file merged over its `base:`, and what of it is the user's own."""
    if path.resolve() in chain:
        names = " -> ".join(p.name for p in (*chain, path.resolve()))
        raise UsageError(f"recipe '{path}': base recipes go in a circle: {names}")
    own = _read(path)
    tree, users = _over_base(own, path, (*chain, path.resolve()))
    return tree, {} if path.parent == library.shipped_folder() else users


def _over_base(own: Tree, path: Path, chain: tuple[Path, ...]) -> tuple[Tree, Tree]:
    """Return a tree merged over its `base:`, and what of it is the user's own."""
    base, users = own.pop("base", None), own
    if base is None:
        return own, users
    if not isinstance(base, str):
        raise UsageError(f"recipe '{path}': base must be one recipe's name or file, not {base!r}")
    below, below_users = _read_layers(_find_base(path, base), chain)
    unnamed = {key: value for key, value in below.items() if key != "name"}
    return merged_recipes(unnamed, own), merged(below_users, users)


def _mark_user_set(section: Section, tree: Tree) -> None:
    section.model_fields_set.intersection_update(tree)
    for name, inner in vars(section).items():  # not getattr, which counts a key as read
        below = tree.get(name)
        if isinstance(inner, Section):
            _mark_user_set(inner, below if isinstance(below, dict) else {})


def _find_base(path: Path, base: str) -> Path:
    beside = path.parent / base
    if beside.is_file():
        return beside
    try:
        return library.find(base)
    except UsageError as error:
        raise UsageError(f"recipe '{path}', base: {error.message}", hint=error.hint) from None


def _read(path: Path) -> dict[str, Any]:
    text = read_text(path)
    if not text.strip():
        raise UsageError(
            f"recipe '{path}' is empty",
            hint="`tltool recipes copy vgg16 my.yaml` gives a file to start from; a line # with a"
            " comment is enough for a recipe of default values",
        )
    tree = read_yaml(text, origin=f"recipe '{path}'")
    if tree is None:
        return {}
    if not isinstance(tree, dict):
        raise UsageError(
            f"recipe '{path}' is not a mapping of keys to values but a {type(tree).__name__}",
            hint="`tltool recipes copy vgg16 my.yaml` gives a file to start from",
        )
    _check_format(path, tree.get("format"))
    try:
        return expand_shorthands(tree, folder=path.parent)
    except UsageError as error:
        raise UsageError(f"recipe '{path}': {error.message}", hint=error.hint) from None


def _check_format(path: Path, version: object) -> None:
    """Reject a recipe of a later version before its new keys are reported as unknown."""
    if isinstance(version, int) and version > FORMAT:
        raise UsageError(
            f"recipe '{path}' comes from a later version of tltool: its format is {version}, "
            f"this version reads {FORMAT}",
            hint="install a newer tltool",
        )


def _is_about_auto(problem: Any) -> bool:
    """Whether it says that a section is not `auto`; the errors of the section are reported too."""
    return bool(problem["loc"]) and problem["loc"][-1] == "literal['auto']"


def _explain(problem: dict[str, Any], options: Mapping[str, str]) -> str:
    # pydantic names the type beside the key where a section or a number may also be auto
    location = [str(part) for part in problem["loc"] if not str(part).endswith(_TYPES)]
    where = ".".join(location)
    if where in options:
        where = f"{options[where]} ({where})"
    if problem["type"] == "extra_forbidden":
        known = known_keys(location[:-1])
        section = "".join(f"{part}." for part in location[:-1])
        near = _elsewhere(location) or did_you_mean(location[-1], known, prefix=section)
        return f"unknown key '{where}'.{near or _listed(known, '.'.join(location[:-1]))}"
    got = _shortened(one_line(problem["input"]))
    if problem["type"] == "model_type":
        keys = ", ".join(known_keys(location))
        return f"{where}: expected a mapping of keys to values, got {got} (its keys: {keys})"
    if problem["type"] == "string_pattern_mismatch":
        return f"{where} {PATTERNS[problem['ctx']['pattern']]}, got {got}"
    near = ""
    if problem["type"] == "literal_error" and isinstance(problem["input"], str):
        known = re.findall(r"'([^']*)'", problem["ctx"]["expected"])
        near = did_you_mean(problem["input"], known)
    message = problem["msg"].removeprefix("Value error, ")
    return f"{where}: {message}, got {got}{'.' if near else ''}{near}"


def _shipped(reference: str) -> str:
    """Return a shipped recipe to look at: ``reference`` itself if it is one."""
    return reference if reference in dict(library.shipped()) else "vgg16"


def _listed(known: Sequence[str], section: str) -> str:
    if len(known) <= _MAX_LISTED_KEYS:
        return f" Known keys: {', '.join(known)}."
    return f" None of the {len(known)} keys of '{section}' is similar."


def _shortened(text: str) -> str:
    return text if len(text) <= _MAX_VALUE_LENGTH else f"{text[:_MAX_VALUE_LENGTH]}…"


def _elsewhere(location: Sequence[str]) -> str:
    """Return suggestions from the whole schema, for a key in the wrong section or another name."""
    leaf = _OTHER_NAMES.get(location[-1].lower(), location[-1])
    paths = [path for path in all_keys() if path.rsplit(".", 1)[-1] == leaf]
    inside = ".".join(location[:-1])
    paths = [path for path in paths if path.startswith(f"{inside}.")] or paths
    return f" Did you mean {' or '.join(map(repr, paths))}?" if paths else ""
