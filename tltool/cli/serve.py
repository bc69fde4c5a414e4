"""tltool serve."""

import os
from pathlib import Path
from typing import Annotated

import typer

from tltool.cli.terminal import interrupts, options
from tltool.cli.terminal.console import err, line
from tltool.cli.terminal.errors import guarded
from tltool.serving.settings import MEBIBYTE, Settings

_SHUTDOWN_SECONDS = 10.0  # for the rest of the shutdown, after the running requests
_BATCHING, _LIMITS = Settings().batching, Settings().limits


@guarded
def serve(
    model: Annotated[
        Path | None,
        typer.Argument(
            metavar="MODEL_BASE_DIR|RUN",
            help="Folder of the versions of a model, one version, or a run with an export. "
            "[default: the only model in saved_models/]",
        ),
    ] = None,
    host: Annotated[
        str,
        typer.Option(
            metavar="ADDRESS",
            help="Network interface; 0.0.0.0 accepts requests from other machines.",
        ),
    ] = "127.0.0.1",
    port: Annotated[
        int, typer.Option(min=0, max=65535, metavar="PORT", help="Port; 0 takes any free port.")
    ] = 8501,
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
            metavar="MS", min=0, help="Milliseconds that an image waits for others to batch."
        ),
    ] = 1000 * _BATCHING.max_delay,
    max_queue: Annotated[
        int,
        typer.Option(metavar="NUMBER", min=1, help="Images that may wait; further ones get 503."),
    ] = _BATCHING.max_queue,
    max_megabytes: Annotated[
        int,
        typer.Option(metavar="NUMBER", min=1, help="Largest request; a larger one gets 413."),
    ] = _LIMITS.body_bytes // MEBIBYTE,
    max_megapixels: Annotated[
        float,
        typer.Option(
            metavar="NUMBER", min=0.01, help="Largest image; a larger one is not classified."
        ),
    ] = _LIMITS.pixels / 1e6,
    quiet: options.Quiet = False,
    debug: options.Debug = False,
) -> None:
    """Serve an export over HTTP: TensorFlow Serving's REST API and a web page for images."""
    from tltool.cli.terminal.native_logs import silence_native_logs
    from tltool.serving.settings import settings_from_options
    from tltool.workflows.serve import Address
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
    )

    interrupts.allow(settings.stop_seconds + settings.drain_seconds + _SHUTDOWN_SECONDS)

    def log(sentence: str) -> None:
        if not quiet:
            line(err(), sentence)

    workflow(model, Address(host, port), name=name, settings=settings, log=log)


def _stopping(sentence: str) -> None:
    if not sentence.startswith("error"):
        sentence = "stopping; running requests are finished, Ctrl-C again stops immediately"
    line(err(), sentence)
