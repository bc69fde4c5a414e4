"""Serve an exported model: find it, verify it, and handle requests until stopped."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from tltool.errors import DataError, EnvironmentProblem, UsageError
from tltool.runs.install_hint import install_hint
from tltool.runs.keras_setup import import_keras
from tltool.serving.listener import Listener, listen, listen_unix
from tltool.serving.model_source import ModelSource
from tltool.serving.platforms import ALL_NETWORKS, Platform, find_platform
from tltool.serving.settings import DEFAULT_HOST, DEFAULT_PORT, Settings
from tltool.training.own_settings import own_settings
from tltool.workflows.find_served_model import (
    Log,
    find_model_source,
    find_second_source,
    local_model,
)

if TYPE_CHECKING:
    from tltool.serving.served_model import ServedModel


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


@dataclass(frozen=True)
class Observed:
    """What happens with answers beside sending them.

    Attributes:
        shadow: the second model, asked in the background; None for none.
        sample: the folder for a sample of the images, and their share; None for none.
    """

    shadow: Path | None = None
    sample: tuple[Path, float] | None = None


def serve(
    model: str | Path | None,
    address: Address,
    *,
    name: str | None,
    settings: Settings,
    log: Log,
    trust: bool = False,
    observed: Observed | None = None,
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
        observed: the second model, and the sample of images to keep.

    Raises:
        UsageError, DataError: there is no such model, it has operations that are not allowed, or
            the second model cannot answer for it.
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
        observed = observed or Observed()
        second = find_second_source(observed.shadow, source, trust=trust, log=log)
        _check_installed()
        with address.listen() as listener, own_settings():
            settings = _with_own_names(settings, listener)
            _serve((source, second), listener, settings=settings, observed=observed, log=log)
    log("stopped; all requests were finished")


def _with_own_names(settings: Settings, listener: Listener) -> Settings:
    """Let a server of this machine only answer to its own names.

    A Unix socket is for programs, and no browser reaches it.
    """
    if listener.path is not None or not (settings.check_host or listener.is_loopback):
        return settings
    names = dict.fromkeys((*settings.allow_hosts, listener.host.lower()))
    return replace(settings, allow_hosts=tuple(names), check_host=True)


def _serve(
    sources: tuple[ModelSource, ModelSource | None],
    listener: Listener,
    *,
    settings: Settings,
    observed: Observed,
    log: Log,
) -> None:
    import_keras()
    from tltool.serving.accepting import MAX_CONNECTIONS
    from tltool.serving.after_answers import observe_answers
    from tltool.serving.app import make_app  # TensorFlow takes seconds to load
    from tltool.serving.prometheus import Metrics
    from tltool.serving.repository import Repository
    from tltool.serving.server import make_server

    metrics = Metrics()
    repository = Repository(sources[0], settings, metrics, log)
    first = repository.load_first()
    if sources[1] is not None:
        second = Repository(sources[1], settings, Metrics(), log, first=metrics.served)
        model = second.load_first()
        log(f"second model: {model.name} version {model.version}: {model.checks}")
        _check_canary(first, model, settings)
        repository.candidate = second
    after = observe_answers(repository, settings, metrics, observed.sample, log)
    app, drain = make_app(repository, settings, metrics, after)
    server = make_server(app, settings, drain)
    listener.start()
    classes = f"{len(first.class_names)} classes, " if first.class_names else ""
    log(f"{first.name} version {first.version}: {classes}{first.checks}")
    _log_addresses(listener, first.name, settings.path_prefix, log)
    if server.connections < MAX_CONNECTIONS:
        log(f"the limit of open files (ulimit -n) allows {server.connections} connections at once")
    log("Ctrl-C or SIGTERM stops the server; running requests are finished")
    server.run(sockets=list(listener.sockets))


def _check_canary(first: ServedModel, second: ServedModel, settings: Settings) -> None:
    """Check that clients of the first model can take answers of the second, if they get any.

    Raises:
        DataError: they cannot.
    """
    why = first.why_not_replaced_by(second) if settings.canary else ""
    if why:
        raise DataError(
            f"--canary: the model '{second.name}' cannot answer for '{first.name}': {why}",
            hint="leave out --canary; with --shadow alone both are compared",
        )


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
