"""Find the model to serve: a folder of versions, one version, a run, or an address."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path, PurePosixPath

from tltool.errors import DataError, UsageError
from tltool.export.export_formats import other_format, saved_model_beside
from tltool.export.model_folder import SAVED_MODEL_FILE
from tltool.export.versions import versions
from tltool.runs.json_text import from_json
from tltool.runs.layout import RunLayout
from tltool.runs.manifest import read_manifest
from tltool.runs.offline import is_offline
from tltool.serving.model_source import ModelSource
from tltool.serving.remote_model import copy_model, is_remote

SAVED_MODELS = Path("saved_models")
_NAME = re.compile(r"[^/:]+")
Log = Callable[[str], None]


@contextmanager
def local_model(model: str | Path | None, *, log: Log) -> Iterator[Path | None]:
    """Give the folder of ``model``; a gs:// address is copied to a temporary folder.

    Raises:
        UsageError: the address needs the network, and TLTOOL_OFFLINE is set.
        EnvironmentProblem, DataError: it cannot be copied.
    """
    if not is_remote(model):
        yield None if model is None else Path(model)
        return
    address = str(model)
    if is_offline():
        raise UsageError(
            f"'{address}' needs the network, but TLTOOL_OFFLINE is set",
            hint="unset TLTOOL_OFFLINE, or give a folder of this machine",
        )
    with tempfile.TemporaryDirectory(prefix="tltool-serve-") as temporary:
        folder = Path(temporary) / (PurePosixPath(address).name or "model")
        count = copy_model(address, folder)
        log(f"{count} files copied from {address}; later changes there have no effect")
        yield folder


def find_model_source(model: Path | None, *, name: str | None, log: Log) -> ModelSource:
    """Return the folder with the versions of ``model``.

    Raises:
        UsageError, DataError: there is no such model, or the run has no export.
    """
    folder = (model or _only_model()).absolute()
    pinned: int | None = None
    if not folder.is_dir():
        raise UsageError(
            f"there is no model '{model}'",
            hint="give saved_models/NAME, or the folder of a run with an export",
        )
    if RunLayout(folder).manifest.is_file():
        folder = _export_of(folder)
        log(f"serving the export of the run: {folder}")
    folder = _inner_model(folder)
    _check_format(folder)
    if (folder / SAVED_MODEL_FILE).is_file():
        pinned = int(folder.name) if re.fullmatch(r"[0-9]{1,18}", folder.name) else 1
        default = folder.parent.name if folder.name == str(pinned) else folder.name
    else:
        default = folder.name
    model_name = default if name is None else name
    if not _NAME.fullmatch(model_name):
        raise UsageError(
            f"'{model_name}' cannot be the name of a model, because it is part of URLs",
            hint="use letters and digits, no / or :",
        )
    return ModelSource(model_name, folder, pinned)


def _inner_model(folder: Path) -> Path:
    """Return the only subfolder with versions, if ``folder`` itself has none: an unpacked archive.

    ``tar -czf model.tar.gz digits/`` puts the folder of the versions one level deeper.
    """
    if (folder / SAVED_MODEL_FILE).is_file() or versions(folder):
        return folder
    inner = [one for one in sorted(folder.iterdir()) if ModelSource("", one).versions()]
    return inner[0] if len(inner) == 1 else folder


def _check_format(folder: Path) -> None:
    """Check that the export is a SavedModel.

    Raises:
        DataError: it has another format.
    """
    other = other_format(folder)
    if other is not None:
        raise DataError(
            f"'{folder.name}' contains {other.file}; the server needs a SavedModel",
            hint=saved_model_beside(folder, other),
        )


def _export_of(run: Path) -> Path:
    manifest = read_manifest(RunLayout(run).manifest)
    exports = [Path(manifest.export)] if manifest.export else []
    exports += sorted(_later_exports(manifest.name, run.name), key=lambda path: -int(path.name))
    for folder in exports:
        if (folder / SAVED_MODEL_FILE).is_file():
            return folder
    missing = f": '{manifest.export}' is missing" if manifest.export else ""
    raise DataError(
        f"the run '{run}' has no export to serve{missing}", hint=f"create one: tltool export {run}"
    )


def _later_exports(name: str, run: str) -> Iterator[Path]:
    """Yield the exports that `tltool export` has created from a run."""
    base_dir = SAVED_MODELS / name
    for number in versions(base_dir):
        folder = base_dir / str(number)
        try:
            facts = from_json((folder / "assets" / "metadata.json").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            continue
        if isinstance(facts, dict) and (facts.get("name"), facts.get("run")) == (name, run):
            yield folder.absolute()


def _only_model() -> Path:
    entries = sorted(SAVED_MODELS.iterdir()) if SAVED_MODELS.is_dir() else []
    models = [entry for entry in entries if ModelSource(entry.name, entry).versions()]
    if len(models) == 1:
        return models[0]
    if not models:
        raise UsageError(
            "there is no model in saved_models/",
            hint="give the folder of a model: tltool serve FOLDER; `tltool finetune` exports one",
        )
    names = ", ".join(entry.name for entry in models)
    raise UsageError(
        f"saved_models/ contains several models: {names}",
        hint=f"give one: tltool serve saved_models/{models[0].name}",
    )


def find_second_source(
    model: Path | None, first: ModelSource, *, trust: bool, log: Log
) -> ModelSource | None:
    """Return the source of the second model; None without one.

    Raises:
        UsageError, DataError: there is no such model, or it is the first one.
    """
    if model is None:
        return None
    second = replace(find_model_source(model, name=None, log=log), trust=trust)
    second.check()
    if second.folder == first.folder:
        raise UsageError(
            f"--shadow '{model}' is the model that is served",
            hint="give another model, or another version such as saved_models/NAME/2",
        )
    if second.name == first.name:  # metrics and Model-Version need two names
        second = replace(second, name=f"{second.name}-shadow")
    return second
