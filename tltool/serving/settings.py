"""What a server may be told. No framework is imported here."""

from __future__ import annotations

from dataclasses import dataclass, replace

MEBIBYTE = 2**20


@dataclass(frozen=True)
class Limits:
    """What requests may ask for.

    Attributes:
        body_bytes: of a request.
        pixels: of one image; its memory is three bytes a pixel while it is decoded.
        body_seconds: until the whole body must have come.
        header_seconds: until the whole head of a request must have come.
        images: in one upload.
        held_bytes: of all requests under way together.
    """

    body_bytes: int = 32 * MEBIBYTE
    pixels: int = 64_000_000
    body_seconds: float = 30.0
    header_seconds: float = 10.0
    photos: int = 64
    held_bytes: int = 512 * MEBIBYTE


@dataclass(frozen=True)
class Batching:
    """How requests are put together.

    Attributes:
        max_batch: items that the model sees at once.
        max_delay: seconds that an item waits for others while the model is idle.
        max_queue: items that may wait; more are refused with 503.
        workers: batches under way at once, over the one model.
    """

    max_batch: int = 16
    max_delay: float = 0.005
    max_queue: int = 256
    workers: int = 2


@dataclass(frozen=True)
class Settings:
    """All of it.

    Attributes:
        limits: of one request.
        batching: of all requests together.
        poll_seconds: between two looks for a new version.
        drain_seconds: that a server told to stop still takes requests.
        stop_seconds: that requests under way get to finish.
    """

    limits: Limits = Limits()
    batching: Batching = Batching()
    poll_seconds: float = 2.0
    drain_seconds: float = 0.5
    stop_seconds: float = 30.0


def chosen(
    *,
    max_batch: int,
    max_delay: float,
    max_queue: int,
    max_megabytes: int,
    max_megapixels: float,
) -> Settings:
    """Return the settings with what a user has chosen.

    Args:
        max_batch: items.
        max_delay: milliseconds.
        max_queue: items.
        max_megabytes: of a request.
        max_megapixels: of an image.
    """
    plain = Settings()
    return replace(
        plain,
        batching=replace(
            plain.batching,
            max_batch=max_batch,
            max_delay=max_delay / 1000,
            max_queue=max_queue,
        ),
        limits=replace(
            plain.limits,
            body_bytes=max_megabytes * MEBIBYTE,
            pixels=round(max_megapixels * 1e6),
        ),
    )
