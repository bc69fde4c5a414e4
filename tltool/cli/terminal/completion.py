"""What the shell completes: recipes, keys of recipes, backbones and runs."""

from collections.abc import Iterator
from pathlib import Path

_MOST_RUNS = 200


def complete_recipe(incomplete: str) -> Iterator[tuple[str, str]]:
    """Yield the shipped recipes that begin so, with what they do; then recipe files."""
    from tltool.recipe.library import shipped

    yield from ((name, text) for name, text in shipped() if name.startswith(incomplete))
    for name in _beside(incomplete):
        if name.endswith((".yaml", ".yml")):
            yield name, "recipe file"


def complete_setting(incomplete: str) -> Iterator[str]:
    """Yield the keys of a recipe that begin so, as ``KEY=``."""
    from tltool.recipe.key_paths import all_keys

    yield from (f"{key}=" for key in all_keys() if key.startswith(incomplete))


def complete_backbone(incomplete: str) -> Iterator[tuple[str, str]]:
    """Yield the backbones that begin so, and ``auto``."""
    from tltool.models.backbone_registry import listed_backbones

    names = {backbone.name: "backbone" for backbone in listed_backbones()}
    names["auto"] = "chosen by measurement on the training images"
    yield from ((name, text) for name, text in names.items() if name.startswith(incomplete))


def complete_run(incomplete: str) -> Iterator[str]:
    """Yield the folders of runs that begin so, the newest first; those in ./runs too."""
    names = [str(path.parent) for path in Path("runs").glob("*/manifest.json")]
    names = [name for name in names if name.startswith(incomplete)]
    names += [name for name in _beside(incomplete) if Path(name, "manifest.json").is_file()]
    yield from sorted(dict.fromkeys(names), key=_last_change, reverse=True)[:_MOST_RUNS]


def complete_model(incomplete: str) -> Iterator[str]:
    """Yield the folders of runs and of exported models that begin so."""
    yield from complete_run(incomplete)
    exports = sorted(
        {path.parent.parent for path in Path("saved_models").glob("*/*/saved_model.pb")}
    )
    yield from (str(path) for path in exports if str(path).startswith(incomplete))


def _last_change(run: str) -> float:
    return Path(run, "manifest.json").stat().st_mtime


def _beside(incomplete: str) -> Iterator[str]:
    """Yield the files and folders that an incomplete path may become, spelled as it is."""
    head, slash, tail = incomplete.rpartition("/")
    folder = Path(head + slash)
    if folder.is_dir():
        names = sorted(path.name for path in folder.iterdir())
        yield from (f"{head}{slash}{name}" for name in names if name.startswith(tail))
