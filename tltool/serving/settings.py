"""Settings of the server. No framework is imported here."""

from __future__ import annotations

from dataclasses import dataclass, replace

MEBIBYTE = 2**20


@dataclass(frozen=True)
class Limits:
    """Limits of requests.

    Attributes:
        body_bytes: size of a request body.
        pixels: of one image; decoding takes three bytes per pixel.
        body_seconds: time in which the whole body must arrive.
        header_seconds: time in which the whole header must arrive.
        images: number of images in one upload.
        total_bytes: size of all request bodies in memory together.
    """

    body_bytes: int = 32 * MEBIBYTE
    pixels: int = 64_000_000
    body_seconds: float = 30.0
    header_seconds: float = 10.0
    images: int = 64
    total_bytes: int = 512 * MEBIBYTE


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
class Settings:
    """All settings of the server.

    Attributes:
        limits: of requests.
        batching: of requests.
        poll_seconds: interval between checks for a new version.
        drain_seconds: how long a stopping server still accepts requests.
        stop_seconds: how long running requests may take to finish.
    """

    limits: Limits = Limits()
    batching: Batching = Batching()
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
) -> Settings:
    """Return the settings with the options of the command line.

    Args:
        max_batch: items.
        max_delay: milliseconds.
        max_queue: items.
        max_megabytes: of a request.
        max_megapixels: of an image.
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
    )
