"""Show where in images a model finds what speaks for a class, one picture per image."""

from __future__ import annotations

import io
import itertools
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import tensorflow as tf

from tltool.data.decoding.decode import decode_image
from tltool.errors import EnvironmentProblem, UsageError, did_you_mean
from tltool.evaluation.explain.overlay import side_by_side
from tltool.evaluation.explain.saliency import TITLES, Method
from tltool.events import Observer, SilentObserver
from tltool.workflows.prediction.explainer import ExplainableModel, Explanation, load_explainable
from tltool.workflows.prediction.inputs import InputImage, list_inputs

_TOGETHER = 8  # images read and explained at a time
_LONGEST = 200  # bytes of a name; 255 is what a file may have, with method and number


@dataclass(frozen=True)
class Explained:
    """What was made of one file.

    Attributes:
        path: the file, or its place in an archive or table.
        error: why there is no picture; None when there is one.
        predicted: class that the model names; empty with an error.
        confidence: its probability.
        explained: class that the picture explains.
        probability: its probability.
        is_known: whether the image is like those that the model has learned from; None with an
            error, or when the model cannot tell.
        ood_score: how unlike them it is: above 1 it is not known. None as ``is_known`` is.
        evidence: whether anything in the image speaks for that class; without, the map is empty.
        picture: the file written.
    """

    path: Path
    error: str | None
    predicted: str = ""
    confidence: float = 0.0
    explained: str = ""
    probability: float = 0.0
    is_known: bool | None = None
    ood_score: float | None = None
    evidence: bool = False
    picture: Path | None = None


def explain(
    model: Path | str,
    images: Sequence[Path | str],
    *,
    out: Path = Path("explanations"),
    method: Method = "grad-cam",
    class_name: str | None = None,
    pixels: str | None = None,
    offline: bool = False,
    observer: Observer | None = None,
) -> list[Explained]:
    """Write one picture per image into ``to``: the image, and beside it the heat map over it.

    A file that cannot be read or decoded gets an entry with an error; the others are explained. A
    file that exists is never replaced: the new one's name gets a number.

    Args:
        model: a run folder, or an export to the format keras, or saved_model for grad-cam.
        images: images, folders and other sources; labels are not looked at.
        out: folder of the pictures; made if absent.
        method: see ``Explainer``.
        class_name: the class to explain; by default, for each image, the one that the model names.
        pixels: shape of the images in a table of pixels, HxW or HxWx3; None means square.
        offline: open no network connection.
        observer: told about the progress.

    Raises:
        UsageError: the model, the class or ``to`` cannot be used.
        DataError: there are no images, or the model cannot be read.
        GateError: the model answers with numbers that are not finite.
        EnvironmentProblem: ``to`` cannot be written.
    """
    observer = observer or SilentObserver()
    files = list_inputs(images, pixels=pixels, offline=offline, observer=observer)
    observer.on_phase("model", str(model))
    looking = load_explainable(Path(model), method)
    wanted = _number_of(class_name, looking.class_names)
    pictures = _Pictures(looking, method, _made(out))
    observer.on_phase("explain", f"{len(files)} file{'s' if len(files) > 1 else ''}, {method}")
    done: list[Explained] = []
    for start in range(0, len(files), _TOGETHER):
        for one in _explained(files[start : start + _TOGETHER], looking, wanted, pictures):
            done.append(one)
            observer.on_progress(len(done), len(files))
    return done


def _number_of(name: str | None, names: Sequence[str]) -> int:
    """Return the number of a class; -1 for the one that the model names.

    Raises:
        UsageError: the model has no such class.
    """
    if name is None:
        return -1
    if name not in names:
        raise UsageError(
            f"the model knows no class '{name}'.{did_you_mean(name, names)}",
            hint=f"it knows {', '.join(names)}",
        )
    return names.index(name)


def _made(folder: Path) -> Path:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except FileExistsError:
        raise UsageError(f"'{folder}' is a file", hint="give a folder with --out") from None
    except OSError as error:
        raise EnvironmentProblem(
            f"the folder '{folder}' cannot be made: {error.strerror}",
            hint="choose a folder that you may write to with --out",
        ) from None
    return folder


def _explained(
    files: Sequence[InputImage], looking: ExplainableModel, wanted: int, pictures: _Pictures
) -> Iterator[Explained]:
    contents = [file.content() for file in files]
    readable = [content for content in contents if isinstance(content, bytes)]
    looked = looking.look(readable, wanted) if readable else None
    rows = itertools.count()
    for file, content in zip(files, contents, strict=True):
        if isinstance(content, str) or looked is None:
            yield Explained(file.shown, str(content))
        elif not looked.answers.ok[row := next(rows)]:
            yield Explained(file.shown, "not an image, damaged or truncated")
        else:
            yield pictures.write(file.shown, content, looked, row)


class _Pictures:
    """Writes one picture per image."""

    def __init__(self, looking: ExplainableModel, method: Method, folder: Path) -> None:
        self._looking, self._method, self._folder = looking, method, folder

    def write(self, shown: Path, content: bytes, looked: Explanation, row: int) -> Explained:
        """Write the picture of one image and return what it says."""
        names, answers = self._looking.class_names, looked.answers
        probabilities, heat = answers.probabilities[row], looked.maps[row]
        predicted, explained = int(probabilities.argmax()), int(looked.classes[row])
        found = Explained(
            shown,
            None,
            predicted=names[predicted],
            confidence=float(probabilities[predicted]),
            explained=names[explained],
            probability=float(probabilities[explained]),
            is_known=None if answers.is_known is None else bool(answers.is_known[row]),
            ood_score=None if answers.ood_scores is None else float(answers.ood_scores[row]),
            evidence=bool(heat.any()),
        )
        picture = side_by_side(
            decode_image(tf.constant(content)).numpy(),
            heat,
            self._looking.decode,
            title=f"{_named(found)}  ·  {shown.name}",
            subtitle=_told(found, self._method),
        )
        encoded = io.BytesIO()
        picture.save(encoded, "PNG")
        return replace(found, picture=self._keep(shown, encoded.getvalue()))

    def _keep(self, shown: Path, png: bytes) -> Path:
        """Write a new file; what is there already stays as it is."""
        stem = os.fsencode(shown.stem)[:_LONGEST].decode(errors="ignore")
        name, number = f"{stem}-{self._method}", 1
        while True:
            path = self._folder / (f"{name}.png" if number == 1 else f"{name}-{number}.png")
            try:
                with path.open("xb") as file:
                    file.write(png)
            except FileExistsError:
                number += 1
            except PermissionError:
                raise EnvironmentProblem(
                    f"the folder '{self._folder}' cannot be written: permission denied",
                    hint="choose a folder that you may write to with --out",
                ) from None
            else:
                return path


def _named(found: Explained) -> str:
    nearest = f"{found.predicted} {found.confidence:.2f}"
    return f"unknown (nearest: {nearest})" if found.is_known is False else nearest


def _told(found: Explained, method: Method) -> str:
    if not found.evidence:
        return f"{TITLES[method]}: nothing in the image speaks for {found.explained}"
    if found.explained == found.predicted:
        return f"{TITLES[method]}: what speaks for {found.explained}"
    return f"{TITLES[method]}: what speaks for {found.explained} ({found.probability:.2f})"
