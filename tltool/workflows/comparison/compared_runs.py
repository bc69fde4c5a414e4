"""Runs to compare: the predictions of each, by content of the images, and its cost."""

from __future__ import annotations

import statistics
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tltool.data.splits.split import SplitRow, read_run_split
from tltool.errors import DataError, UsageError, reading
from tltool.evaluation.csv_tables import read_predictions
from tltool.export.model_folder import METADATA_ASSET, version_folder
from tltool.runs.json_text import from_json
from tltool.runs.layout import MODEL_FILE, RunLayout, is_artifact
from tltool.runs.manifest import Manifest, read_manifest

_LATENCY_ROUNDS = 7

Key = tuple[str, int]
"""SHA-256 of an image, and its number among the images of that content."""


@dataclass(frozen=True)
class ImagePrediction:
    """A run's prediction for one image.

    Attributes:
        path: of the image in split.csv.
        label: its class.
        predicted: the predicted class.
        confidence: its probability.
        group: its group, such as a patient or a cluster of near duplicates; empty if it has none.
    """

    path: Path
    label: str
    predicted: str
    confidence: float
    group: str

    @property
    def correct(self) -> bool:
        """Whether the prediction is correct."""
        return self.label == self.predicted


@dataclass(frozen=True)
class ComparedRun:
    """A finished run.

    Attributes:
        name: the shortest end of its path that distinguishes it from the other runs.
        run: its folder.
        split: the split that it was evaluated on: test or validation.
        predictions: by content, in the order of the images.
        manifest: what the run recorded.
    """

    name: str
    run: RunLayout
    split: str
    predictions: dict[Key, ImagePrediction]
    manifest: Manifest


@dataclass(frozen=True)
class Cost:
    """The cost of a run's model, measured on this machine.

    Attributes:
        parameters: number of weights of the network.
        megabytes: size of the model file.
        milliseconds: median latency for one decoded image, in float32.
        train_seconds: wall time of the run on the machine that trained it; None if unknown.
    """

    parameters: int
    megabytes: float
    milliseconds: float
    train_seconds: float | None


def open_compared_runs(paths: Sequence[Path]) -> list[ComparedRun]:
    """Read the runs; an export stands for the run that it was exported from.

    Raises:
        UsageError: a path does not exist, or a run is repeated.
        DataError: one is no finished run, or an export whose run cannot be located.
    """
    runs = [_run_of(path) for path in paths]
    repeated = [path for path, count in Counter(run.resolve() for run in runs).items() if count > 1]
    if repeated:
        raise UsageError(f"'{repeated[0]}' is given twice", hint="give different runs")
    names = _names(runs)
    return [_open(run, name) for run, name in zip(runs, names, strict=True)]


def common_keys(runs: Sequence[ComparedRun]) -> list[Key]:
    """Return the images that all runs were evaluated on.

    Raises:
        DataError: they were evaluated on different images, or on different labels.
    """
    first = runs[0]
    for other in runs[1:]:
        missing = len(first.predictions.keys() - other.predictions.keys())
        added = len(other.predictions.keys() - first.predictions.keys())
        if missing or added:
            raise DataError(
                f"'{first.name}' and '{other.name}' were evaluated on different images: "
                f"{len(first.predictions) - missing} in common, {missing} only in the "
                f"{first.split} set of the first, {added} only in the {other.split} set of the "
                "second",
                hint="train both on the same split: the same --test, or the same data.* and seed; "
                "`tltool data split --out FOLDER` saves one",
            )
        changed = [
            key
            for key, one in first.predictions.items()
            if one.label != other.predictions[key].label
        ]
        if changed:
            one = first.predictions[changed[0]]
            raise DataError(
                f"{len(changed)} images have different labels in '{other.name}' and in "
                f"'{first.name}', such as {one.path}",
                hint="labels were changed between the runs: train both again",
            )
    return list(first.predictions)


def image_groups(runs: Sequence[ComparedRun], keys: Sequence[Key]) -> NDArray[np.int64]:
    """Return the group of each image, int64 [N], from the first run that recorded groups."""
    for run in runs:
        names = [run.predictions[key].group for key in keys]
        if any(names):
            numbers = {name: number for number, name in enumerate(dict.fromkeys(names), len(keys))}
            return np.array([numbers[name] if name else n for n, name in enumerate(names)])
    return np.arange(len(keys))


def measure_cost(compared: ComparedRun) -> Cost | None:
    """Load the run's model and time it; None if the run has no model any more."""
    from tltool.artifact import load_artifact
    from tltool.inference import Classifier

    if not is_artifact(compared.run.folder):
        return None
    artifact = load_artifact(compared.run.folder)
    classifier = Classifier(artifact.network)
    decode = artifact.description.decode
    image = np.zeros((1, decode.height, decode.width, 3), np.float32)
    classifier.logits(image)  # warm-up: traces the graph
    seconds = []
    for _ in range(_LATENCY_ROUNDS):
        started = time.perf_counter()
        classifier.logits(image)
        seconds.append(time.perf_counter() - started)
    return Cost(
        artifact.network.model.count_params(),
        (compared.run.folder / MODEL_FILE).stat().st_size / 1e6,
        1000 * statistics.median(seconds),
        (compared.manifest.seconds or {}).get("total"),
    )


def _run_of(path: Path) -> Path:
    if not path.exists():
        raise UsageError(
            f"there is no run '{path}'",
            hint="give the folders of finished runs; `tltool runs list` lists them",
        )
    if (path / "manifest.json").is_file():
        return path
    exported = version_folder(path) if path.is_dir() else None
    if exported is None:
        raise DataError(
            f"'{path}' is neither a finished run nor an exported model",
            hint="give the folders of finished runs; `tltool runs list` lists them",
        )
    return _run_of_export(exported)


def _run_of_export(folder: Path) -> Path:
    """Return the run of an export: in ./runs, or next to the folder of exports."""
    metadata = _document(folder / "assets" / METADATA_ASSET)
    name, digest = str(metadata.get("run", "")), metadata.get("model_digest")
    parents = folder.absolute().parents[:3]
    candidates = [Path("runs"), *(parent / "runs" for parent in parents), *parents]
    for run in (candidate / name for candidate in candidates if name):
        manifest = RunLayout(run).manifest
        if manifest.is_file() and digest in (None, read_manifest(manifest).model_digest):
            return run
    raise DataError(
        f"the run '{name or 'unknown'}' of the export '{folder}' is not found",
        hint="give the folder of that run",
    )


def _names(runs: Sequence[Path]) -> list[str]:
    """Return the shortest ends of the paths that are distinct."""
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
    split = str(metrics.get("evaluated_on", "validation"))
    rows = [row for row in read_run_split(run) if row.split == split]
    return ComparedRun(name, run, split, _predictions(run, rows), manifest)


def _document(path: Path) -> dict[str, Any]:
    with reading(path, "file of the run", hint="restore it from a copy"):
        return dict(from_json(path.read_text(encoding="utf-8")))


def _predictions(run: RunLayout, rows: Sequence[SplitRow]) -> dict[Key, ImagePrediction]:
    """Return the rows of predictions.csv by content; they are in the order of split.csv."""
    try:
        lines = list(read_predictions(run.predictions))
        predictions: dict[Key, ImagePrediction] = {}
        copies: Counter[str] = Counter()
        for row, line in zip(rows, lines, strict=True):
            if row.label != line.label:
                raise ValueError(row.path)
            predictions[row.sha256, copies[row.sha256]] = ImagePrediction(
                row.path, row.label, line.predicted, line.confidence, line.group
            )
            copies[row.sha256] += 1
    except OSError as error:
        raise DataError(f"{run.predictions} cannot be read: {error.strerror}") from None
    except ValueError:
        raise DataError(
            f"{run.predictions} and {run.split.name} do not match",
            hint="they were changed after the run; restore them, or train again",
        ) from None
    return predictions
