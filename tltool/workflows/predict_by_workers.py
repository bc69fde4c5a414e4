"""Classify images in the workers of a command; the predictions are those of one process."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tltool.engine.work import Engine, Piece, Record, Work
from tltool.errors import GateError
from tltool.events import Observer, SilentObserver
from tltool.export.model_folder import model_digest
from tltool.features.out_of_memory import micro_batches, reported_to
from tltool.features.shards import ShardPlan
from tltool.training.devices import grow_gpu_memory
from tltool.training.own_settings import own_settings
from tltool.workflows.predict import PredictionStream, batches_of, set_thresholds
from tltool.workflows.prediction.broken_images import BrokenImages
from tltool.workflows.prediction.inputs import InputImage
from tltool.workflows.prediction.model import load_model
from tltool.workflows.prediction.options import PredictOptions
from tltool.workflows.prediction.prediction import Prediction

WORK = "predict"
_LIST = "images.json"
_AHEAD = 64  # pieces whose predictions may wait for those of an earlier one


def predict_by_workers(
    engine: Engine,
    options: PredictOptions,
    stream: PredictionStream,
    folder: Path,
    observer: Observer,
) -> Iterator[Prediction]:
    """Yield the predictions of ``stream`` in its order, computed by the workers of ``engine``.

    Args:
        engine: has the workers.
        options: of the prediction; their model is a run, or one version of an export.
        stream: names the images; its own predictions are not computed.
        folder: for the list of the images, which the workers read.
        observer: receives progress events.

    Raises:
        TltoolError: a worker cannot do its part.
    """
    images, plan = stream.images, ShardPlan(stream.count, stream.batch_size)
    document = {
        "model": str(options.model.absolute()),
        "model_digest": model_digest(options.model),
        "trust": options.trust,
        "top": options.top,
        "prediction_set": options.prediction_set,
        "per_class": options.per_class,
        "tta": options.tta,
        "batch_size": stream.batch_size,
        "images": [[str(image.shown), str(image.path.absolute())] for image in images],
    }
    (folder / _LIST).write_text(json.dumps(document))
    arguments = {"folder": str(folder.absolute())}
    work = Work(WORK, arguments, title="piece of predictions", ahead=_AHEAD)
    waiting: dict[int, Record] = {}
    broken, done, following = BrokenImages(), 0, 0
    for number, record in engine.map(work, range(plan.shards)):
        waiting[number] = record
        done += len(record["predictions"])
        observer.on_progress(done, plan.count)
        while following in waiting:
            ready = waiting.pop(following)
            broken.add(*ready["broken"])
            start, stop = plan.bounds(following)
            yield from _predictions(images[start:stop], ready["predictions"])
            following += 1
    broken.report(observer)


def _predictions(
    images: Sequence[InputImage], records: Sequence[dict[str, Any]]
) -> Iterator[Prediction]:
    for image, record in zip(images, records, strict=True):
        yield Prediction(image.shown, **record, file=image.path)


def begin_predict(arguments: Mapping[str, Any]) -> Piece:
    """Return the function of a worker that classifies the images of one piece.

    Args:
        arguments: ``folder`` that ``predict_by_workers`` has filled.

    Raises:
        DataError: the model cannot be loaded.
        GateError: its files have changed.
    """
    document = json.loads((Path(arguments["folder"]) / _LIST).read_text())
    images = [InputImage(Path(shown), Path(path)) for shown, path in document["images"]]
    names = ("trust", "top", "prediction_set", "per_class", "tta")
    options = PredictOptions(
        Path(document["model"]), (), **{name: document[name] for name in names}
    )
    silent = SilentObserver()
    if model_digest(options.model) != document["model_digest"]:
        raise GateError(
            f"the model '{options.model}' has changed since this command began",
            hint="start the command again when nothing writes to it",
        )
    grow_gpu_memory()
    with own_settings():
        model = load_model(options.model, trust=options.trust)
        thresholds = set_thresholds(model, options, silent)
    plan = ShardPlan(len(images), document["batch_size"])
    fitting = reported_to(silent)

    def piece(number: int) -> Record:
        start, stop = plan.bounds(number)
        broken = BrokenImages()
        with micro_batches(fitting):
            batches = batches_of(model, images[start:stop], options, thresholds, broken)
            found = [prediction for batch in batches for prediction in batch]
        return {"predictions": [_record(one) for one in found], "broken": broken.found}

    return piece


def _record(prediction: Prediction) -> dict[str, Any]:
    return {k: v for k, v in asdict(prediction).items() if k not in ("path", "file")}
