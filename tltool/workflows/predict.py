"""Name what is on photos, with a trained model or an export."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tltool.data.sources.folder import find_images
from tltool.data.transcode import read_image_bytes
from tltool.errors import DataError, TltoolError
from tltool.events import Observer, SilentObserver
from tltool.workflows.models import OpenModel, open_model


@dataclass(frozen=True)
class Prediction:
    """The answer for one file.

    Attributes:
        path: the file.
        error: why there is no answer; None when there is one.
        top: (class name, probability), the most probable first; empty with an error.
    """

    path: Path
    error: str | None
    top: tuple[tuple[str, float], ...]


def predict(
    model: Path | str,
    images: Sequence[Path | str],
    *,
    top: int = 1,
    observer: Observer | None = None,
) -> list[Prediction]:
    """Return one prediction per file; folders stand for all images below them.

    A file that cannot be read or decoded gets a prediction with an error; the others are answered.

    Raises:
        UsageError, DataError: the model, or none of the files, can be used.
    """
    observer = observer or SilentObserver()
    files = _files(images)
    observer.on_phase("model", str(model))
    opened = open_model(Path(model))
    observer.on_phase("predict", f"{len(files)} file{'s' if len(files) > 1 else ''}")
    found: list[Prediction] = []
    for start in range(0, len(files), opened.batch_size):
        found += _answers(opened, files[start : start + opened.batch_size], top=top)
        observer.on_progress(len(found), len(files))
    return found


def _files(images: Sequence[Path | str]) -> list[Path]:
    files: list[Path] = []
    for given in map(Path, images):
        files += find_images(given) if given.is_dir() else [given]
    if not files:
        raise DataError(
            f"no images in {', '.join(map(str, images)) or 'nothing'}",
            hint="give image files or folders with images",
        )
    return files


def _answers(opened: OpenModel, files: Sequence[Path], *, top: int) -> Iterator[Prediction]:
    contents = [_content(path) for path in files]
    readable = [content for content in contents if isinstance(content, bytes)]
    probabilities, ok = opened.predict(readable)
    answered = iter(zip(probabilities, ok, strict=True))
    for path, content in zip(files, contents, strict=True):
        if isinstance(content, str):
            yield Prediction(path, content, ())
            continue
        row, decoded = next(answered)
        if decoded:
            yield Prediction(path, None, _top(row, opened.class_names, top))
        else:
            yield Prediction(path, "not an image, damaged or truncated", ())


def _content(path: Path) -> bytes | str:
    """Return the bytes of a photo, or why it cannot be read."""
    try:
        return read_image_bytes(path)
    except TltoolError as error:
        return error.message.removeprefix(f"{path} ").removeprefix("is ")
    except FileNotFoundError:
        return "no such file"
    except OSError as error:
        return error.strerror or str(error)


def _top(row: np.ndarray, names: Sequence[str], count: int) -> tuple[tuple[str, float], ...]:
    order = np.argsort(-row, kind="stable")[: max(1, count)]
    return tuple((names[number], float(row[number])) for number in order)
