"""Serve an exported model: find it, verify it, and handle requests until stopped."""

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
from tltool.serving.model_source import SAVED_MODEL_FILE, ModelSource
from tltool.serving.settings import Settings

SAVED_MODELS = Path("saved_models")
_NAME = re.compile(r"[^/:]+")
Log = Callable[[str], None]


@dataclass(frozen=True)
class Address:
    """The address of a server.

    Attributes:
        host: the network interface; the loopback address serves this machine only.
        port: 0 for any free port.
    """

    host: str
    port: int


def serve(
    model: Path | None, address: Address, *, name: str | None, settings: Settings, log: Log
) -> None:
    """Serve ``model`` until SIGTERM or Ctrl-C; running requests are then finished.

    Args:
        model: the folder of the versions, one version, or a run; None for the only model in
            saved_models/.
        address: where to listen.
        name: of the model in URLs; None for the name of the folder.
        settings: of the server.
        log: called with one sentence per event.

    Raises:
        UsageError, DataError: there is no such model.
        GateError: the export is damaged.
        EnvironmentProblem: the port is in use, or a package is missing.
    """
    source = find_model_source(model, name=name, log=log)
    _check_installed()
    from tltool.serving.server import listen, make_server, start_listening, url_of

    with listen(address.host, address.port) as listener:
        from tltool.serving.app import make_app  # TensorFlow takes seconds to load
        from tltool.serving.prometheus import Metrics
        from tltool.serving.repository import Repository

        metrics = Metrics()
        repository = Repository(source, settings, metrics, log)
        first = repository.load_first()
        app, drain = make_app(repository, settings, metrics)
        server = make_server(app, settings, drain)
        start_listening(listener)
        url = url_of(listener)
        classes = f"{len(first.class_names)} classes, " if first.class_names else ""
        log(f"{first.name} version {first.version}: {classes}{first.checks}")
        log(f"page       {url}/")
        log(f"REST API   {url}/v1/models/{first.name}:predict")
        log("Ctrl-C or SIGTERM stops the server; running requests are finished")
        server.run(sockets=[listener])
    log("stopped; all requests were finished")


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
    _check_format(folder)
    if (folder / SAVED_MODEL_FILE).is_file():
        pinned = int(folder.name) if re.fullmatch(r"[0-9]{1,18}", folder.name) else 1
        default = folder.parent.name if folder.name == str(pinned) else folder.name
    else:
        default = folder.name
    model_name = name or default
    if not _NAME.fullmatch(model_name):
        raise UsageError(
            f"'{model_name}' cannot be the name of a model, because it is part of URLs",
            hint="use letters and digits, no / or :",
        )
    return ModelSource(model_name, folder, pinned)


def _check_format(folder: Path) -> None:
    """Check that the export is a SavedModel.

    Raises:
        DataError: it has another format.
    """
    folders = [folder, *(folder / str(number) for number in versions(folder))]
    names = {path.name for one in folders for path in one.iterdir()}
    others = [one for one in FORMATS.values() if one.file in names]
    if others and SAVED_MODEL_FILE not in names:
        raise DataError(
            f"'{folder.name}' contains {others[0].file}; the server needs a SavedModel",
            hint="give the folder of the SavedModel, or create one: tltool export RUN",
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
