"""tltool serve."""

import os
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from tltool.cli.terminal import interrupts, shared_options
from tltool.cli.terminal.completion import complete_model
from tltool.cli.terminal.console import err, line
from tltool.cli.terminal.error_output import guarded
from tltool.errors import UsageError
from tltool.serving.settings import DEFAULT_HOST, DEFAULT_PORT, MEBIBYTE, Settings

_SHUTDOWN_SECONDS = 10.0  # for the rest of the shutdown, after the running requests
_SAMPLE_FOLDER = Path("kept_sample")
_DEFAULT = Settings()
_BATCHING, _LIMITS = _DEFAULT.batching, _DEFAULT.limits


@guarded
def serve(
    model: Annotated[
        str | None,
        typer.Argument(
            metavar="MODEL_BASE_DIR|RUN",
            help="Folder of the versions of a model, one version, a run with an export, or a gs:// "
            "address. [default: the only model in saved_models/]",
            autocompletion=complete_model,
        ),
    ] = None,
    host: Annotated[
        str | None,
        typer.Option(
            metavar="ADDRESS",
            help="Network interface; 0.0.0.0 accepts requests from other machines, :: also IPv6. "
            "Vertex AI and SageMaker need 0.0.0.0, which is the default there.",
            show_default=DEFAULT_HOST,
        ),
    ] = None,
    port: Annotated[
        int | None,
        typer.Option(
            min=0,
            max=65535,
            metavar="PORT",
            help="Port; 0 takes any free port. On Vertex AI and SageMaker the platform's.",
            show_default=str(DEFAULT_PORT),
        ),
    ] = None,
    unix_socket: Annotated[
        Path | None,
        typer.Option(
            metavar="PATH", help="Listen on a Unix socket instead, for a proxy on this machine."
        ),
    ] = None,
    name: Annotated[
        str | None,
        typer.Option(
            metavar="NAME", help="Model name in URLs.", show_default="the name of the folder"
        ),
    ] = None,
    max_batch: Annotated[
        int,
        typer.Option(metavar="NUMBER", min=1, help="Largest number of images in a batch."),
    ] = _BATCHING.max_batch,
    max_delay: Annotated[
        float,
        typer.Option(
            metavar="MS", min=0, help="Longest time that an image waits for others, in ms."
        ),
    ] = 1000 * _BATCHING.max_delay,
    max_queue: Annotated[
        int,
        typer.Option(
            metavar="NUMBER",
            min=1,
            help="Most images that may wait; further requests get status 503.",
        ),
    ] = _BATCHING.max_queue,
    max_megabytes: Annotated[
        int,
        typer.Option(
            metavar="NUMBER",
            min=1,
            help="Largest request in megabytes; a larger one gets status 413.",
        ),
    ] = _LIMITS.body_bytes // MEBIBYTE,
    max_megapixels: Annotated[
        float,
        typer.Option(
            metavar="NUMBER",
            min=0.01,
            help="Largest image in megapixels; a larger one is not classified.",
        ),
    ] = _LIMITS.pixels / 1e6,
    idle_timeout: Annotated[
        int,
        typer.Option(
            metavar="SECONDS",
            min=1,
            help="How long a connection without a request stays open; longer than the load "
            "balancer keeps it (60 s for AWS and nginx, 600 s for Google Cloud).",
        ),
    ] = round(_DEFAULT.idle_seconds),
    cors: Annotated[
        list[str] | None,
        typer.Option(
            metavar="ORIGIN",
            help="Allow web pages of this origin, such as https://example.org, to send requests; "
            "* for all. May be repeated.",
        ),
    ] = None,
    allow_host: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="A name by which clients call the server, such as digits.example.org; other "
            "names are refused. On the loopback address only localhost and the address itself are "
            "allowed without this option; * for all. May be repeated.",
        ),
    ] = None,
    token: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="File with a token that requests must send in the header 'Authorization: Bearer "
            "TOKEN'; the health checks need none.",
        ),
    ] = None,
    path_prefix: Annotated[
        str,
        typer.Option(
            metavar="PATH",
            help="Path below which a reverse proxy publishes the server; not needed if it sends "
            "X-Forwarded-Prefix.",
            show_default=False,
        ),
    ] = "",
    log_file: Annotated[
        Path | None,
        typer.Option(
            "--log",
            metavar="FILE.csv",
            help="Append time, class, confidence and OOD score of every image to this file, which "
            "`tltool monitor` reads; no image and no name.",
        ),
    ] = None,
    keep_sample: Annotated[
        str | None,
        typer.Option(
            metavar="PERCENT",
            help="Keep this share of the images, such as 1%, in --sample-folder (at most 200 MB); "
            "without it no image is kept.",
        ),
    ] = None,
    sample_folder: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER", help="Folder of --keep-sample.", show_default=str(_SAMPLE_FOLDER)
        ),
    ] = None,
    shadow: Annotated[
        Path | None,
        typer.Option(
            metavar="MODEL_BASE_DIR",
            help="A second model: asked in the background too, and compared, while the server is "
            "not busy. Clients do not see its answers.",
        ),
    ] = None,
    canary: Annotated[
        str | None,
        typer.Option(
            metavar="PERCENT",
            help="Share of the requests that the model of --shadow answers, such as 10%; the "
            "header Model-Version says which version has answered.",
        ),
    ] = None,
    trust: shared_options.TrustModel = False,
    quiet: shared_options.Quiet = False,
    debug: shared_options.Debug = False,
) -> None:
    """Serve an export over HTTP: REST APIs of TensorFlow Serving and KServe, and a web page."""
    from tltool.cli.terminal.native_logs import silence_native_logs
    from tltool.serving.settings import parse_percent, settings_from_options
    from tltool.workflows.serve import Address, Observed
    from tltool.workflows.serve import serve as workflow

    if not debug:
        # a server runs for months, and every damaged image would add a line to the log
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
        silence_native_logs()
    interrupts.announce_with(_stopping)
    settings = settings_from_options(
        max_batch=max_batch,
        max_delay=max_delay,
        max_queue=max_queue,
        max_megabytes=max_megabytes,
        max_megapixels=max_megapixels,
        idle_timeout=idle_timeout,
        cors=cors or (),
        allow_hosts=allow_host or (),
        token_file=token,
        path_prefix=path_prefix,
    )

    settings = replace(
        settings,
        log=log_file,
        canary=0.0 if canary is None else parse_percent(canary, option="--canary"),
    )
    kept = None if keep_sample is None else parse_percent(keep_sample, option="--keep-sample")
    if canary is not None and shadow is None:
        raise UsageError("--canary needs --shadow", hint="name the second model with --shadow")
    if sample_folder is not None and kept is None:
        raise UsageError(
            "--sample-folder needs --keep-sample", hint="give the share, such as --keep-sample 1%"
        )
    observed = Observed(shadow, None if kept is None else (sample_folder or _SAMPLE_FOLDER, kept))
    interrupts.allow(settings.stop_seconds + settings.drain_seconds + _SHUTDOWN_SECONDS)

    def log(sentence: str) -> None:
        if not quiet:
            line(err(), sentence)

    if unix_socket is not None and (host is not None or port is not None):
        raise UsageError(
            "--unix-socket cannot be combined with --host or --port",
            hint="start a second server for the other address",
        )
    address = Address(host, port, unix_socket)
    workflow(model, address, name=name, settings=settings, log=log, trust=trust, observed=observed)


def _stopping(sentence: str) -> None:
    if not sentence.startswith("error"):
        sentence = "stopping; running requests are finished, Ctrl-C again stops immediately"
    line(err(), sentence)
