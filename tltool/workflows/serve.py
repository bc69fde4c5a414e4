"""Serve an exported model: find it, prove it, answer until told to stop."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from tltool.errors import DataError, EnvironmentProblem, UsageError
from tltool.export.export_formats import FORMATS
from tltool.export.versions import versions
from tltool.runs.json_text import from_json
from tltool.runs.layout import RunLayout
from tltool.runs.manifest import read_manifest
from tltool.serving.model_source import SAVED_MODEL_FILE, Source
from tltool.serving.settings import Settings

SAVED_MODELS = Path("saved_models")
_NAME = re.compile(r"[^/:]+")
Say = Callable[[str], None]


@dataclass(frozen=True)
class Address:
    """Where a server is to be found.

    Attributes:
        host: the interface; loopback serves this machine alone.
        port: 0 for any free one.
    """

    host: str
    port: int


def serve(
    model: Path | None, address: Address, *, name: str | None, settings: Settings, say: Say
) -> None:
    """Serve ``model`` until SIGTERM or Ctrl-C; requests under way are then finished.

    Args:
        model: the folder of the versions, one version, or a run; None for the only model in
            saved_models/.
        address: where to listen.
        name: of the model in addresses; None for the folder's.
        settings: sizes and times.
        say: told in one sentence each what goes on.

    Raises:
        UsageError, DataError: there is no such model.
        GateError: the export is damaged.
        EnvironmentProblem: the port is in use, or a package is missing.
    """
    source = find_source(model, name=name, say=say)
    _check_installed()
    from tltool.serving.server import address_of, listen, make_server, open_to_clients

    with listen(address.host, address.port) as listener:
        from tltool.serving.app import make_app  # TensorFlow takes seconds to load
        from tltool.serving.prometheus import Metrics
        from tltool.serving.repository import Repository

        metrics = Metrics()
        repository = Repository(source, settings, metrics, say)
        first = repository.load_first()
        app, drain = make_app(repository, settings, metrics)
        server = make_server(app, settings, drain)
        open_to_clients(listener)
        url = address_of(listener)
        say(f"{first.name} version {first.version}: {_about(first.class_names)}{first.proof}")
        say(f"page       {url}/")
        say(f"REST API   {url}/v1/models/{first.name}:predict")
        say("Ctrl-C or SIGTERM stops it; requests under way are finished")
        server.run(sockets=[listener])
    say("stopped; every request was answered")


def _about(class_names: tuple[str, ...]) -> str:
    return f"{len(class_names)} classes, " if class_names else ""


def _check_installed() -> None:
    try:
        import fastapi  # noqa: F401
        import prometheus_client  # noqa: F401
        import python_multipart  # noqa: F401
        import uvicorn  # noqa: F401
    except ImportError as error:
        raise EnvironmentProblem(
            f"the server needs packages that are not installed: {error.name}",
            hint="pip install 'tltool[serve]'",
        ) from None


def find_source(model: Path | None, *, name: str | None, say: Say) -> Source:
    """Return where the versions of ``model`` come from.

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
        say(f"serving the export of the run: {folder}")
    _check_format(folder)
    if (folder / SAVED_MODEL_FILE).is_file():
        pinned = int(folder.name) if re.fullmatch(r"[0-9]{1,18}", folder.name) else 1
        default = folder.parent.name if folder.name == str(pinned) else folder.name
    else:
        default = folder.name
    chosen = name or default
    if not _NAME.fullmatch(chosen):
        raise UsageError(
            f"'{chosen}' cannot be the name of a model: it stands in addresses",
            hint="use letters and digits, no / or :",
        )
    return Source(chosen, folder, pinned)


def _check_format(folder: Path) -> None:
    """Refuse an export of another format than the SavedModel."""
    inside = [folder, *(folder / str(number) for number in versions(folder))]
    found = {path.name for one in inside for path in one.iterdir()}
    others = [one for one in FORMATS.values() if one.file in found]
    if others and SAVED_MODEL_FILE not in found:
        raise DataError(
            f"'{folder.name}' holds {others[0].file}; the server takes SavedModels",
            hint="give the folder beside it, or make one: tltool export RUN",
        )


def _export_of(run: Path) -> Path:
    manifest = read_manifest(RunLayout(run).manifest)
    exports = [Path(manifest.export)] if manifest.export else []
    exports += sorted(_later_exports(manifest.name, run.name), key=lambda path: -int(path.name))
    for folder in exports:
        if (folder / SAVED_MODEL_FILE).is_file():
            return folder
    gone = f": '{manifest.export}' is no longer there" if manifest.export else ""
    raise DataError(
        f"the run '{run}' has no export to serve{gone}", hint=f"make one: tltool export {run}"
    )


def _later_exports(name: str, run: str) -> Iterator[Path]:
    """Yield what `tltool export` made of a run after it had finished."""
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
    found = [entry for entry in entries if Source(entry.name, entry).found()]
    if len(found) == 1:
        return found[0]
    if not found:
        raise UsageError(
            "there is no model in saved_models/",
            hint="give the folder of one: tltool serve FOLDER; `tltool finetune` exports to it",
        )
    names = ", ".join(entry.name for entry in found)
    raise UsageError(
        f"saved_models/ holds several models: {names}",
        hint=f"give one: tltool serve saved_models/{found[0].name}",
    )
