"""Presets of KerasHub as model files in the store of weights; a folder is converted once."""

from __future__ import annotations

import hashlib
import tempfile
from pathlib import Path

from tltool.errors import EnvironmentProblem, UsageError
from tltool.models.hub_extra import check_hub
from tltool.recipe.source_text import HUB
from tltool.runs.digests import file_digest
from tltool.runs.keras_setup import load_keras
from tltool.runs.offline import is_offline
from tltool.weights.weights_store import weights_dir


def hub_file(reference: str) -> Path:
    """Return the model file of a preset; that of a folder is written where it is not yet stored.

    Args:
        reference: ``hub:FOLDER``, or ``hub:PRESET`` with the name of a preset that was fetched.

    Raises:
        UsageError: there is no such preset or folder, or it is no image model.
        EnvironmentProblem: KerasHub is not installed, or the preset was not fetched.
    """
    preset = reference.removeprefix(HUB)
    check_hub()
    folder = Path(preset).expanduser()
    if folder.is_dir():
        file = _place(_folder_digest(folder)) / f"{folder.resolve().name}.keras"
        return file if file.is_file() else _convert(str(folder), file)
    if not preset or "/" in preset or "\\" in preset:
        raise UsageError(
            f"there is no folder '{preset}' of a preset",
            hint="give hub:FOLDER, which save_to_preset wrote, or hub:PRESET",
        )
    file = _named(preset)
    if not file.is_file():
        _check_name(preset)
        raise EnvironmentProblem(
            f"the preset '{preset}' of KerasHub is not stored",
            hint=f"fetch it on a machine with a network: tltool weights pull {reference}",
        )
    return file


def fetch_preset(reference: str, *, offline: bool) -> Path:
    """Return the model file of a preset by name, downloaded by KerasHub unless it is stored.

    Raises:
        UsageError: there is no such preset, or it is no image model.
        EnvironmentProblem: KerasHub is not installed, or there is no network.
    """
    preset = reference.removeprefix(HUB)
    check_hub()
    file = _named(preset)
    if file.is_file():
        return file
    _check_name(preset)
    if offline or is_offline():
        raise EnvironmentProblem(
            f"the preset '{preset}' of KerasHub is not stored, and this is offline mode",
            hint=f"on a machine with a network: tltool weights pull {reference}; then copy "
            f"{weights_dir()}",
        )
    return _convert(preset, file)


def _check_name(preset: str) -> None:
    load_keras()
    from tltool.models.hub_preset import check_name

    check_name(preset)


def _convert(preset: str, file: Path) -> Path:
    load_keras()
    from tltool.models.hub_preset import convert_preset

    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".partial-", dir=file.parent) as folder:
            part = Path(folder) / file.name
            convert_preset(preset, part)
            part.replace(file)
    except OSError as error:
        raise EnvironmentProblem(
            f"the preset '{preset}' cannot be stored in {file.parent}: {error.strerror or error}",
            hint="set TLTOOL_WEIGHTS_DIR to a folder that you may write to",
        ) from None
    return file


def _named(preset: str) -> Path:
    return _place("named") / f"{preset}.keras"


def _place(name: str) -> Path:
    return weights_dir() / "hub" / name


def _folder_digest(folder: Path) -> str:
    """Return a digest of the files of a preset, by which its model file is found again."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    digest = hashlib.sha256()
    for path in files:
        digest.update(f"{path.relative_to(folder).as_posix()} {file_digest(path)}\n".encode())
    return digest.hexdigest()[:16]
