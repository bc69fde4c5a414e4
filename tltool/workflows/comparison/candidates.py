"""Runs to be compared: what each answered to which images, and what it costs."""

from __future__ import annotations

import csv
import statistics
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tltool.data.splits.split import SplitRow, read_split
from tltool.errors import DataError, UsageError
from tltool.export.exported_model import version_folder
from tltool.export.saved_model import METADATA_ASSET
from tltool.runs.json_text import from_json
from tltool.runs.layout import MODEL_FILE, RunLayout
from tltool.runs.manifest import Manifest, read_manifest

_LATENCY_ROUNDS = 7

Key = tuple[str, int]
"""Content of an image, and the how many-th of that content it is."""


@dataclass(frozen=True)
class Answer:
    """What a run answered to one image.

    Attributes:
        path: as split.csv names it.
        label: its class.
        predicted: the class that the run named.
        confidence: its probability.
    """

    path: Path
    label: str
    predicted: str
    confidence: float

    @property
    def correct(self) -> bool:
        """Whether the run is right."""
        return self.label == self.predicted


@dataclass(frozen=True)
class ComparedRun:
    """A finished run.

    Attributes:
        name: how it is told from the others.
        run: its folder.
        part: where its answers are from: test or validation.
        answers: by content, in the order of the images.
        manifest: what the run recorded.
    """

    name: str
    run: RunLayout
    part: str
    answers: dict[Key, Answer]
    manifest: Manifest


@dataclass(frozen=True)
class Cost:
    """What a run's model costs, measured here and now where it is loaded.

    Attributes:
        parameters: weights of the network.
        megabytes: of the model file.
        milliseconds: median for one image, decoded already, in float32.
        train_seconds: wall time of the run, on the machine that trained it.
    """

    parameters: int
    megabytes: float
    milliseconds: float
    train_seconds: float | None


def open_compared_runs(paths: Sequence[Path]) -> list[ComparedRun]:
    """Read the runs, or the runs that exports came from.

    Raises:
        UsageError: a path does not exist, or a run is named twice.
        DataError: one is no finished run, or an export whose run is not found.
    """
    runs = [_run_of(path) for path in paths]
    twice = [path for path, count in Counter(run.resolve() for run in runs).items() if count > 1]
    if twice:
        raise UsageError(f"'{twice[0]}' is given twice", hint="give different runs")
    names = _names(runs)
    return [_open(run, name) for run, name in zip(runs, names, strict=True)]


def common_keys(contenders: Sequence[ComparedRun]) -> list[Key]:
    """Return the images that all contenders answered.

    Raises:
        DataError: they answered different images, or to other labels.
    """
    first = contenders[0]
    for other in contenders[1:]:
        missing = len(first.answers.keys() - other.answers.keys())
        added = len(other.answers.keys() - first.answers.keys())
        if missing or added:
            raise DataError(
                f"'{first.name}' and '{other.name}' were measured on different images: "
                f"{len(first.answers) - missing} in common, {missing} only in the {first.part} "
                f"part of the first, {added} only in the {other.part} part of the second",
                hint="train both on the same split: the same --test, or the same data.* and seed; "
                "`tltool data split --out FOLDER` keeps one",
            )
        changed = [
            key for key, one in first.answers.items() if one.label != other.answers[key].label
        ]
        if changed:
            one = first.answers[changed[0]]
            raise DataError(
                f"{len(changed)} images have other labels in '{other.name}' than in "
                f"'{first.name}', such as {one.path}",
                hint="labels were changed between the runs: train both anew",
            )
    return list(first.answers)


def cost_of(contender: ComparedRun) -> Cost | None:
    """Load the run's model and time it; None when the run has none any more."""
    from tltool.artifact import is_artifact, load_artifact
    from tltool.inference import Classifier

    if not is_artifact(contender.run.folder):
        return None
    artifact = load_artifact(contender.run.folder)
    classifier = Classifier(artifact.network)
    decode = artifact.description.decode
    image = np.zeros((1, decode.height, decode.width, 3), np.float32)
    classifier.logits(image)  # traced and warm
    spent = []
    for _ in range(_LATENCY_ROUNDS):
        started = time.perf_counter()
        classifier.logits(image)
        spent.append(time.perf_counter() - started)
    return Cost(
        artifact.network.model.count_params(),
        (contender.run.folder / MODEL_FILE).stat().st_size / 1e6,
        1000 * statistics.median(spent),
        (contender.manifest.seconds or {}).get("total"),
    )


def _run_of(path: Path) -> Path:
    if not path.exists():
        raise UsageError(
            f"there is no run '{path}'",
            hint="give the folders of finished runs; `tltool runs list` has them",
        )
    if (path / "manifest.json").is_file():
        return path
    exported = version_folder(path) if path.is_dir() else None
    if exported is None:
        raise DataError(
            f"'{path}' holds neither a finished run nor an exported model",
            hint="give the folders of finished runs; `tltool runs list` has them",
        )
    return _run_of_export(exported)


def _run_of_export(folder: Path) -> Path:
    """Return the run that an export came from: under ./runs or beside the folder of exports."""
    facts = _document(folder / "assets" / METADATA_ASSET)
    name, digest = str(facts.get("run", "")), facts.get("model_digest")
    places = [Path("runs"), *(parent / "runs" for parent in folder.absolute().parents[:3])]
    beside = [parent for parent in folder.absolute().parents[:3]]
    for run in (place / name for place in (*places, *beside) if name):
        manifest = RunLayout(run).manifest
        if manifest.is_file() and digest in (None, read_manifest(manifest).model_digest):
            return run
    raise DataError(
        f"the run of the export '{folder}' is not found: it was called '{name or 'unknown'}'",
        hint="give the folder of that run",
    )


def _names(runs: Sequence[Path]) -> list[str]:
    """Return the shortest ends of the paths that tell them apart."""
    parts = [run.resolve().parts for run in runs]
    for length in range(1, max(map(len, parts)) + 1):
        names = ["/".join(part[-length:]) for part in parts]
        if len(set(names)) == len(names):
            return names
    return [str(run) for run in runs]


def _open(path: Path, name: str) -> ComparedRun:
    run = RunLayout(path)
    manifest = read_manifest(run.manifest)
    if manifest.status != "finished" and not run.predictions.is_file():
        raise DataError(
            f"the run '{path}' is {manifest.status}: it has no predictions to compare",
            hint=f"tltool runs resume {path}",
        )
    metrics = _document(run.metrics)
    part = str(metrics.get("evaluated_on", "validation"))
    rows = [row for row in read_split(run.split) if row.split == part]
    return ComparedRun(name, run, part, _answers(run, rows), manifest)


def _document(path: Path) -> dict[str, Any]:
    try:
        return dict(from_json(path.read_text(encoding="utf-8")))
    except (OSError, ValueError) as error:
        raise DataError(f"{path} cannot be read: {error}") from None


def _answers(run: RunLayout, rows: Sequence[SplitRow]) -> dict[Key, Answer]:
    """Return the rows of predictions.csv by content: they stand in the order of split.csv."""
    try:
        with run.predictions.open(newline="", encoding="utf-8") as file:
            predictions = list(csv.DictReader(file))
        found: dict[Key, Answer] = {}
        seen: Counter[str] = Counter()
        for row, given in zip(rows, predictions, strict=True):
            if row.label != given["label"]:
                raise ValueError(row.path)
            answer = Answer(row.path, row.label, given["predicted"], float(given["confidence"]))
            found[row.sha256, seen[row.sha256]] = answer
            seen[row.sha256] += 1
    except OSError as error:
        raise DataError(f"{run.predictions} cannot be read: {error.strerror}") from None
    except (KeyError, ValueError):
        raise DataError(
            f"{run.predictions} and {run.split.name} do not belong together",
            hint="they were changed after the run; restore them, or train again",
        ) from None
    return found
