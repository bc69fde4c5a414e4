"""Serve an exported model: find it, verify it, and handle requests until stopped."""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from tltool.errors import DataError, EnvironmentProblem, UsageError
from tltool.export.export_formats import other_format, saved_model_beside
from tltool.export.model_folder import SAVED_MODEL_FILE
from tltool.export.versions import versions
from tltool.runs.install_hint import install_hint
from tltool.runs.json_text import from_json
from tltool.runs.keras_setup import import_keras
from tltool.runs.layout import RunLayout
from tltool.runs.manifest import read_manifest
from tltool.runs.offline import is_offline
from tltool.serving.listener import Listener, listen, listen_unix
from tltool.serving.model_source import ModelSource
from tltool.serving.platforms import ALL_NETWORKS, Platform, find_platform
from tltool.serving.remote_model import copy_model, is_remote
from tltool.serving.settings import DEFAULT_HOST, DEFAULT_PORT, Settings
from tltool.training.own_settings import own_settings

SAVED_MODELS = Path("saved_models")
_NAME = re.compile(r"[^/:]+")
Log = Callable[[str], None]


@dataclass(frozen=True)
class Address:
    """The address of a server; what is None is taken from the platform or the defaults.

    Attributes:
        host: the network interface; the loopback address serves this machine only.
        port: 0 for any free port.
        socket: path of a Unix socket, instead of host and port.
    """

    host: str | None = None
    port: int | None = None
    socket: Path | None = None

    def on(self, platform: Platform | None) -> Address:
        """Return the address with the defaults of ``platform``; None for those of this machine."""
        host = ALL_NETWORKS if platform else DEFAULT_HOST
        port = platform.port if platform else DEFAULT_PORT
        return Address(
            self.host if self.host is not None else host,
            self.port if self.port is not None else port,
            self.socket,
        )

    def listen(self) -> Listener:
        """Return the bound sockets.

        Raises:
            UsageError, EnvironmentProblem: see ``tltool.serving.listener``.
        """
        if self.socket is not None:
            return listen_unix(self.socket.absolute())
        return listen(self.host or "", self.port or 0)


def serve(
    model: str | Path | None,
    address: Address,
    *,
    name: str | None,
    settings: Settings,
    log: Log,
    trust: bool = False,
) -> None:
    """Serve ``model`` until SIGTERM or Ctrl-C; running requests are then finished.

    On Vertex AI and SageMaker the model, the port and further routes are those that the platform
    gives, see ``tltool.serving.platforms``.

    Args:
        model: the folder of the versions, one version, a run, or a gs:// address of a folder; None
            for the model of the platform, or the only model in saved_models/.
        address: where to listen.
        name: of the model in URLs; None for the name of the folder.
        settings: of the server.
        log: called with one sentence per event.
        trust: load versions without a check of their files and operations.

    Raises:
        UsageError, DataError: there is no such model, or it has operations that are not allowed.
        GateError: the export is damaged.
        EnvironmentProblem: the port is in use, or a package is missing.
    """
    if model is not None and not str(model).strip():
        raise UsageError(
            "the name of the model is empty", hint="give saved_models/NAME, or leave it out"
        )
    platform = find_platform(os.environ, model_given=model is not None)
    address = address.on(platform)
    if platform is not None:
        log(f"on {platform.name}: port {address.port} of {address.host}")
        settings = replace(settings, routes=platform.routes)
    with local_model(model or (platform.model if platform else None), log=log) as folder:
        source = replace(find_model_source(folder, name=name, log=log), trust=trust)
        source.check()
        _check_installed()
        with address.listen() as listener, own_settings():
            settings = _with_own_names(settings, listener)
            _serve(source, listener, settings=settings, log=log)
    log("stopped; all requests were finished")


def _with_own_names(settings: Settings, listener: Listener) -> Settings:
    """Let a server of this machine only answer to its own names.

    A Unix socket is for programs, and no browser reaches it.
    """
    if listener.path is not None or not (settings.check_host or listener.is_loopback):
        return settings
    names = dict.fromkeys((*settings.allow_hosts, listener.host.lower()))
    return replace(settings, allow_hosts=tuple(names), check_host=True)


def _serve(source: ModelSource, listener: Listener, *, settings: Settings, log: Log) -> None:
    import_keras()
    from tltool.serving.accepting import MAX_CONNECTIONS
    from tltool.serving.app import make_app  # TensorFlow takes seconds to load
    from tltool.serving.prometheus import Metrics
    from tltool.serving.repository import Repository
    from tltool.serving.server import make_server

    metrics = Metrics()
    repository = Repository(source, settings, metrics, log)
    first = repository.load_first()
    app, drain = make_app(repository, settings, metrics)
    server = make_server(app, settings, drain)
    listener.start()
    classes = f"{len(first.class_names)} classes, " if first.class_names else ""
    log(f"{first.name} version {first.version}: {classes}{first.checks}")
    _log_addresses(listener, first.name, settings.path_prefix, log)
    if server.connections < MAX_CONNECTIONS:
        log(f"the limit of open files (ulimit -n) allows {server.connections} connections at once")
    log("Ctrl-C or SIGTERM stops the server; running requests are finished")
    server.run(sockets=list(listener.sockets))


def _log_addresses(listener: Listener, name: str, prefix: str, log: Log) -> None:
    path = f"{prefix}/v1/models/{name}:predict"
    if listener.path is not None:
        log(f"socket     {listener.path}")
        log(f"REST API   curl --unix-socket '{listener.path}' http://localhost{path}")
        return
    log(f"page       {listener.url}{prefix}/")
    log(f"REST API   {listener.url}{path}")


def _check_installed() -> None:
    try:
        import fastapi  # noqa: F401
        import prometheus_client  # noqa: F401
        import python_multipart  # noqa: F401
        import uvicorn  # noqa: F401
    except ImportError as error:
        raise EnvironmentProblem(
            f"the server needs packages that are not installed: {error.name}",
            hint=install_hint("serve"),
        ) from None


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
