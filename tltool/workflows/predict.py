"""Name what is on photos, with a trained model or an export."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tltool.data.sources.open import is_source, read_images
from tltool.data.transcode import read_image_bytes
from tltool.errors import DataError, TltoolError
from tltool.events import Observer, SilentObserver
from tltool.workflows.models import OpenModel, open_model


@dataclass(frozen=True)
class Prediction:
    """The answer for one file.

    Attributes:
        path: the file, or its place in an archive or table.
        error: why there is no answer; None when there is one.
        top: (class name, probability), the most probable first; empty with an error.
    """

    path: Path
    error: str | None
    top: tuple[tuple[str, float], ...]


@dataclass(frozen=True)
class _File:
    """An image, and where the user knows it to be."""

    shown: Path
    path: Path


def predict(
    model: Path | str,
    images: Sequence[Path | str],
    *,
    top: int = 1,
    pixels: str | None = None,
    offline: bool = False,
    observer: Observer | None = None,
) -> list[Prediction]:
    """Return one prediction per image; folders and other sources stand for all that they hold.

    A file that cannot be read or decoded gets a prediction with an error; the others are answered.
    Labels that a source has are not looked at. ``pixels`` is the shape of the images in a table of
    pixels, HxW or HxWx3; None means square. ``offline`` opens no network connection.

    Raises:
        UsageError, DataError: the model, or none of the files, can be used.
    """
    observer = observer or SilentObserver()
    files = _files(images, pixels, offline=offline, observer=observer)
    observer.on_phase("model", str(model))
    opened = open_model(Path(model))
    observer.on_phase("predict", f"{len(files)} file{'s' if len(files) > 1 else ''}")
    found: list[Prediction] = []
    for start in range(0, len(files), opened.batch_size):
        found += _answers(opened, files[start : start + opened.batch_size], top=top)
        observer.on_progress(len(found), len(files))
    return found


def _files(
    images: Sequence[Path | str], pixels: str | None, *, offline: bool, observer: Observer
) -> list[_File]:
    files: list[_File] = []
    for given in images:
        if is_source(given):
            found = read_images(given, pixels=pixels, offline=offline, observer=observer)
            files += [_File(Path(found.shown(item)), item.path) for item in found.items]
        else:
            files.append(_File(Path(given), Path(given)))
    if not files:
        raise DataError(
            f"no images in {', '.join(map(str, images)) or 'nothing'}",
            hint="give image files or folders with images",
        )
    return files


def _answers(opened: OpenModel, files: Sequence[_File], *, top: int) -> Iterator[Prediction]:
    contents = [_content(file.path) for file in files]
    readable = [content for content in contents if isinstance(content, bytes)]
    probabilities, ok = opened.predict(readable)
    answered = iter(zip(probabilities, ok, strict=True))
    for file, content in zip(files, contents, strict=True):
        if isinstance(content, str):
            yield Prediction(file.shown, content, ())
            continue
        row, decoded = next(answered)
        if decoded:
            yield Prediction(file.shown, None, _top(row, opened.class_names, top))
        else:
            yield Prediction(file.shown, "not an image, damaged or truncated", ())


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
