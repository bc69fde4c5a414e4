"""Whether ``tltool monitor`` is given images, or a file of predictions."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from tltool.errors import UsageError

_NEEDED = {"predicted_by", "class_1", "probability_1"}


def is_prediction_file(path: Path) -> bool:
    """Return whether a file has rows of ``tltool predict`` or of a log of the server."""
    if path.suffix.lower() not in (".csv", ".jsonl") or not path.is_file():
        return False
    with path.open(encoding="utf-8", errors="surrogateescape") as file:
        start = file.readline(1 << 20)
    if path.suffix.lower() == ".csv":
        return set(start.strip().split(",")) >= _NEEDED
    try:
        document = json.loads(start)
    except (ValueError, RecursionError):
        return False
    return isinstance(document, dict) and {"predicted_by", "class", "confidence"} <= set(document)


def has_predictions(images: Sequence[Path | str], *, pixels: str | None, trust: bool) -> bool:
    """Return whether one file of predictions is given in place of images.

    Args:
        images: as given to ``monitor``.
        pixels: shape of the images in a table of pixels.
        trust: whether to load the model without a check.

    Raises:
        UsageError: it is, and an option has no effect on predictions.
    """
    if len(images) != 1 or not is_prediction_file(Path(images[0])):
        return False
    option = "--pixels" if pixels is not None else "--trust" if trust else None
    if option is not None:
        raise UsageError(
            f"{option} has no effect on '{images[0]}', a file of predictions",
            hint=f"leave out {option}; predictions need no images and no network",
        )
    return True
