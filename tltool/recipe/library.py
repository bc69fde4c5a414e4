"""Shipped recipes, and finding a recipe by name, path or run folder."""

from pathlib import Path

from tltool.errors import UsageError, did_you_mean
from tltool.recipe.text_file import read_text
from tltool.runs.layout import RunLayout
from tltool.storage.durable import new_file

_PACKAGE = Path(__file__).resolve().parent.parent


def shipped_folder() -> Path:
    """Return the folder of the shipped recipes: inside the wheel, or `recipes/` of a checkout."""
    inside = _PACKAGE / "shipped_recipes"
    return inside if inside.is_dir() else _PACKAGE.parent / "recipes"


def shipped() -> list[tuple[str, str]]:
    """Return (name, one-line summary) of every shipped recipe, sorted by name.

    The summary is the first comment line of the file.
    """
    return [(path.stem, _summary(path)) for path in sorted(shipped_folder().glob("*.yaml"))]


def find(reference: str) -> Path:
    """Return the file of a recipe, given its path, the name of a shipped recipe, or a run folder.

    Raises:
        UsageError: no such recipe.
    """
    path = expanded(reference)
    if path.suffix in {".yaml", ".yml"} or path.is_file():
        if path.is_file():
            return path
        raise UsageError(
            f"there is no recipe file '{reference}'",
            hint="`tltool recipes list` lists the shipped recipes",
        )
    shipped_path = shipped_folder() / f"{reference}.yaml"
    if shipped_path.is_file() and shipped_path.parent == shipped_folder():
        return shipped_path
    of_run = RunLayout(path).recipe
    if reference and of_run.is_file():
        return of_run
    names = [name for name, _ in shipped()]
    if path.is_dir():
        raise UsageError(
            f"'{reference}' is a folder, and neither a recipe nor a run",
            hint=f"a folder of images is the argument DATA; shipped recipes: {', '.join(names)}",
        )
    raise UsageError(
        f"there is no recipe '{reference}'.{did_you_mean(reference, names)}",
        hint=f"shipped recipes: {', '.join(names)}; or give a .yaml file or a run folder",
    )


def copy_recipe(reference: str, file: Path) -> None:
    """Copy a recipe's text to ``file``.

    Raises:
        UsageError: no such recipe, or ``file`` exists or cannot be written.
    """
    text = read_text(find(reference))
    try:
        with new_file(file) as part:
            part.write_text(text, encoding="utf-8")
    except OSError as error:
        raise UsageError(f"'{file}' cannot be written: {error.strerror}") from None


def expanded(text: str) -> Path:
    """Return a path with `~` expanded; that of an unknown user is left unchanged."""
    try:
        return Path(text).expanduser()
    except RuntimeError:
        return Path(text)


def _summary(path: Path) -> str:
    first = path.read_text(encoding="utf-8").split("\n", 1)[0]
    return first.lstrip("# ").rstrip()
