"""The prediction for one image, in a module that loads no framework."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from tltool.storage.address import is_object_store


@dataclass(frozen=True)
class Prediction:
    """The prediction for one image.

    Attributes:
        path: the file, or its name in an archive or table; of an object in a store its address, as
            text.
        error: why there is no prediction; None if there is one.
        top: (class name, probability), the most probable first; empty with an error.
        is_known: whether the image is in-distribution (similar to the training images); None with
            an error, or if the model has no OOD detector.
        ood_score: OOD score; above 1 the image is out-of-distribution. None like ``is_known``.
        prediction_set: classes of the prediction set, the most probable first; None if not
            requested.
        file: the image file itself, which for an archive or a table is a cached copy.
    """

    path: Path | str
    error: str | None
    top: tuple[tuple[str, float], ...]
    is_known: bool | None = None
    ood_score: float | None = None
    prediction_set: tuple[str, ...] | None = None
    file: Path | None = None


def absolute_name(shown: Path | str) -> str:
    """Return the absolute path of an image, the same from every folder; links are not resolved.

    ``..`` stays: behind a link to a folder it is not the folder before the name of the link.
    """
    if is_object_store(str(shown)):
        return str(shown)
    return str(Path(shown).absolute())
