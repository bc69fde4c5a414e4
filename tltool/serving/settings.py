"""Settings of the server. No framework is imported here."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from tltool.errors import UsageError

_ORIGIN = re.compile(r"[a-z][a-z0-9+.-]*://(?:\[[0-9a-f:.]+\]|[a-z0-9._-]+)(?::[0-9]{1,5})?")
_HOST = re.compile(r"\[?[0-9a-f:.]+\]?|[a-z0-9._-]+")
_MAX_TOKEN = 4096  # bytes
_TOKEN = re.compile(rb"[A-Za-z0-9._~+/=-]{16,%d}" % _MAX_TOKEN)  # RFC 6750, section 2.1
URL_PATH = re.compile(r"(?:/[A-Za-z0-9._~%@:+-]+)+")
MEBIBYTE = 2**20
DEFAULT_HOST = "127.0.0.1"
DEFAULT_PORT = 8501


@dataclass(frozen=True)
class Limits:
    """Limits of requests.

    Attributes:
        body_bytes: size of a request body.
        pixels: of one image; decoding takes three bytes per pixel.
        body_seconds: time in which the whole body must arrive.
        header_seconds: time in which the whole header must arrive.
        discard_seconds: time for the rest of a body that nothing reads.
        response_seconds: time in which the client must read a response.
        images: number of images in one upload.
        total_bytes: size of all request bodies in memory together.
        decoded_bytes: memory in which images may be decoded at the same time; a single image that
            takes more is decoded alone.
    """

    body_bytes: int = 32 * MEBIBYTE
    pixels: int = 64_000_000
    body_seconds: float = 30.0
    header_seconds: float = 10.0
    discard_seconds: float = 5.0
    response_seconds: float = 60.0
    images: int = 64
    total_bytes: int = 512 * MEBIBYTE
    decoded_bytes: int = 512 * MEBIBYTE


@dataclass(frozen=True)
class Batching:
    """Settings of request batching.

    Attributes:
        max_batch: largest number of items in a batch.
        max_delay: seconds that an item waits for others while the model is idle.
        max_queue: items that may wait; further items get status 503.
        workers: number of batches that run at the same time.
    """

    max_batch: int = 16
    max_delay: float = 0.005
    max_queue: int = 256
    workers: int = 2


@dataclass(frozen=True)
class PlatformRoutes:
    """Further routes, which a platform gives to its containers.

    Attributes:
        health: of the readiness check; None for none.
        predict: of predictions; None for none.
    """

    health: str | None = None
    predict: str | None = None


@dataclass(frozen=True)
class Settings:
    """All settings of the server.

    Attributes:
        limits: of requests.
        batching: of requests.
        cors: origins whose pages may send requests and read responses; "*" for all.
        allow_hosts: names of the server besides those of its address; "*" for all.
        check_host: whether requests to other names are refused.
        token: that every request must have, but those for the health of the server; empty for none.
        path_prefix: path below which a reverse proxy publishes the server; empty for none.
        routes: further routes.
        log: file for a row per classified image; None for none.
        canary: share of the requests that the second model answers, 0 to 1.
        idle_seconds: how long a connection without a request stays open.
        poll_seconds: interval between checks for a new version.
        drain_seconds: how long a stopping server still accepts requests.
        stop_seconds: how long running requests may take to finish.
    """

    limits: Limits = Limits()
    batching: Batching = Batching()
    cors: tuple[str, ...] = ()
    allow_hosts: tuple[str, ...] = ()
    check_host: bool = False
    token: str = ""
    path_prefix: str = ""
    routes: PlatformRoutes = PlatformRoutes()
    log: Path | None = None
    canary: float = 0.0
    # longer than the 60 s of nginx and of the load balancers of AWS, which would otherwise send
    # requests on connections that the server is closing
    idle_seconds: float = 75.0
    poll_seconds: float = 2.0
    drain_seconds: float = 0.5
    stop_seconds: float = 30.0


def settings_from_options(
    *,
    max_batch: int,
    max_delay: float,
    max_queue: int,
    max_megabytes: int,
    max_megapixels: float,
    idle_timeout: int,
    cors: Sequence[str],
    allow_hosts: Sequence[str],
    token_file: Path | None,
    path_prefix: str,
) -> Settings:
    """Return the settings with the options of the command line.

    Args:
        max_batch: items.
        max_delay: milliseconds.
        max_queue: items.
        max_megabytes: of a request.
        max_megapixels: of an image.
        idle_timeout: seconds.
        cors: origins.
        allow_hosts: names of the server.
        token_file: with the token.
        path_prefix: of a reverse proxy.

    Raises:
        UsageError: an origin, a name, the token or the path prefix is invalid.
    """
    default = Settings()
    return replace(
        default,
        batching=replace(
            default.batching,
            max_batch=max_batch,
            max_delay=max_delay / 1000,
            max_queue=max_queue,
        ),
        limits=replace(
            default.limits,
            body_bytes=max_megabytes * MEBIBYTE,
            pixels=round(max_megapixels * 1e6),
        ),
        idle_seconds=float(idle_timeout),
        cors=parse_origins(cors),
        allow_hosts=parse_hosts(allow_hosts),
        check_host=bool(allow_hosts),
        token="" if token_file is None else read_token(token_file),
        path_prefix=parse_path_prefix(path_prefix),
    )


def parse_origins(values: Sequence[str]) -> tuple[str, ...]:
    """Return the origins of ``--cors``; commas separate several in one value.

    An origin (RFC 6454) is scheme, host and port, as browsers send it in the header ``Origin``.

    Raises:
        UsageError: a value is no origin.

    Examples:
        >>> parse_origins(["https://example.org, http://localhost:3000"])
        ('https://example.org', 'http://localhost:3000')
    """
    origins = [one.strip().lower() for value in values for one in value.split(",")]
    for origin in origins:
        if origin != "*" and not _ORIGIN.fullmatch(origin):
            raise UsageError(
                f"--cors '{origin}' is not an origin: scheme, host and port, without a path",
                hint="for example --cors https://example.org or --cors http://localhost:3000; "
                "--cors '*' allows all pages",
            )
    return tuple(dict.fromkeys(origins))


def parse_hosts(values: Sequence[str]) -> tuple[str, ...]:
    """Return the names of ``--allow-host`` in lower case; commas separate several in one value.

    Raises:
        UsageError: a value is no name of a host.
    """
    names = [one.strip().lower() for value in values for one in value.split(",")]
    for name in names:
        if name != "*" and not _HOST.fullmatch(name):
            raise UsageError(
                f"--allow-host '{name}' is not the name of a host, without scheme and port",
                hint="for example --allow-host digits.example.org; --allow-host '*' allows all",
            )
    return tuple(dict.fromkeys(names))


def read_token(file: Path) -> str:
    """Return the token in ``file``, without white space around it.

    Raises:
        UsageError: the file cannot be read, or holds no token.
    """
    mend = "create one: python -c 'import secrets; print(secrets.token_urlsafe())' > FILE"
    try:
        with file.open("rb") as opened:
            content = opened.read(_MAX_TOKEN + 1)
    except OSError as error:
        reason = error.strerror or str(error)
        raise UsageError(f"--token '{file}' cannot be read: {reason}", hint=mend) from None
    token = content.strip()
    if not _TOKEN.fullmatch(token):
        raise UsageError(
            f"--token '{file}' holds no token: 16 to {_MAX_TOKEN} letters, digits and -._~+/=",
            hint=mend,
        )
    return token.decode()


def parse_percent(value: str, *, option: str) -> float:
    """Return a share, 0 to 1, that is written in percent.

    Raises:
        UsageError: it is not.

    Examples:
        >>> parse_percent("10%", option="--canary")
        0.1
    """
    match = re.fullmatch(r"\s*([0-9]{1,3}(?:\.[0-9]+)?)\s*%\s*", value)
    if match is None or float(match[1]) > 100:
        raise UsageError(
            f"{option} '{value}' is not a share in percent", hint=f"such as {option} 10%"
        )
    return float(match[1]) / 100


def parse_path_prefix(value: str) -> str:
    """Return the path prefix without a slash at its end; "" for none.

    Raises:
        UsageError: it is not the path of a URL.
    """
    prefix = value.rstrip("/")
    if prefix and not URL_PATH.fullmatch(prefix):
        raise UsageError(
            f"--path-prefix '{value}' is not a path",
            hint="it starts with a slash, as in --path-prefix /models/digits",
        )
    return prefix
