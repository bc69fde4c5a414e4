"""tltool serve."""

import os
from pathlib import Path
from typing import Annotated

import typer

from tltool.cli.terminal import interrupts, options
from tltool.cli.terminal.console import err, line
from tltool.cli.terminal.errors import guarded
from tltool.serving.settings import MEBIBYTE, Settings

_TIDYING = 10.0  # seconds that the end takes besides the requests under way
_BATCHING, _LIMITS = Settings().batching, Settings().limits


@guarded
def serve(
    model: Annotated[
        Path | None,
        typer.Argument(
            metavar="MODEL_BASE_DIR|RUN",
            help="The folder of an export's versions, one version, or a run with an export. "
            "[default: the only model in saved_models/]",
        ),
    ] = None,
    host: Annotated[
        str, typer.Option(metavar="ADDRESS", help="Interface; 0.0.0.0 lets other machines in.")
    ] = "127.0.0.1",
    port: Annotated[
        int, typer.Option(min=0, max=65535, metavar="PORT", help="Port; 0 takes a free one.")
    ] = 8501,
    name: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Name in addresses.", show_default="the folder's"),
    ] = None,
    max_batch: Annotated[
        int,
        typer.Option(metavar="NUMBER", min=1, help="Images that run together."),
    ] = _BATCHING.max_batch,
    max_delay: Annotated[
        float,
        typer.Option(metavar="MS", min=0, help="Milliseconds that an image waits for others."),
    ] = 1000 * _BATCHING.max_delay,
    max_queue: Annotated[
        int,
        typer.Option(metavar="NUMBER", min=1, help="Images that may wait; more get 503."),
    ] = _BATCHING.max_queue,
    max_megabytes: Annotated[
        int,
        typer.Option(metavar="NUMBER", min=1, help="Size of a request; more gets 413."),
    ] = _LIMITS.body_bytes // MEBIBYTE,
    max_megapixels: Annotated[
        float,
        typer.Option(
            metavar="NUMBER", min=0.01, help="Size of an image; a larger one is not answered."
        ),
    ] = _LIMITS.pixels / 1e6,
    quiet: options.Quiet = False,
    debug: options.Debug = False,
) -> None:
    """Serve an export: TensorFlow Serving's REST API, and a page to drop images on."""
    from tltool.cli.terminal.native_logs import silence_native_logs
    from tltool.serving.settings import chosen
    from tltool.workflows.serve import Address
    from tltool.workflows.serve import serve as workflow

    if not debug:
        # a server runs for months, and every damaged image would be a line in a log nobody reads
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
        silence_native_logs()
    interrupts.announce_with(_stopping)
    settings = chosen(
        max_batch=max_batch,
        max_delay=max_delay,
        max_queue=max_queue,
        max_megabytes=max_megabytes,
        max_megapixels=max_megapixels,
    )

    interrupts.allow(settings.stop_seconds + settings.drain_seconds + _TIDYING)

    def say(sentence: str) -> None:
        if not quiet:
            line(err(), sentence)

    workflow(model, Address(host, port), name=name, settings=settings, say=say)


def _stopping(sentence: str) -> None:
    if not sentence.startswith("error"):
        sentence = "stopping; requests under way are finished, Ctrl-C again stops at once"
    line(err(), sentence)
