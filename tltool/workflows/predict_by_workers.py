"""Classify images in the workers of a command; the predictions are those of one process."""

from __future__ import annotations

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
from tltool.workflows.seen_files import as_seen, check_present, check_seen

WORK = "predict"
_AHEAD = 64  # pieces whose predictions may wait for those of an earlier one


def predict_by_workers(
    engine: Engine,
    options: PredictOptions,
    stream: PredictionStream,
    observer: Observer,
) -> Iterator[Prediction]:
    """Yield the predictions of ``stream`` in its order, computed by the workers of ``engine``.

    Args:
        engine: has the workers.
        options: of the prediction; their model is a run, or one version of an export.
        stream: names the images; its own predictions are not computed.
        observer: receives progress events.

    Raises:
        TltoolError: a worker cannot do its part.
    """
    images, plan = stream.images, ShardPlan(stream.count, stream.batch_size)
    arguments = {
        "model": str(options.model.absolute()),
        "model_digest": model_digest(options.model),
        "trust": options.trust,
        "top": options.top,
        "prediction_set": options.prediction_set,
        "per_class": options.per_class,
        "tta": options.tta,
    }

    def described(number: int) -> dict[str, Any]:
        part = images[slice(*plan.bounds(number))]
        files = as_seen(str(image.path) for image in part)
        return {"shown": [str(image.shown) for image in part], "files": files}

    work = Work(WORK, arguments, title="piece of predictions", inputs=described, ahead=_AHEAD)
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
        arguments: of the work.

    Raises:
        DataError: the model cannot be loaded.
        GateError: its files have changed.
        EnvironmentProblem: this machine does not see it.
    """
    names = ("trust", "top", "prediction_set", "per_class", "tta")
    options = PredictOptions(
        Path(arguments["model"]), (), **{name: arguments[name] for name in names}
    )
    silent = SilentObserver()
    check_present(options.model)
    if model_digest(options.model) != arguments["model_digest"]:
        raise GateError(
            f"the model '{options.model}' has changed since this command began",
            hint="start the command again when nothing writes to it",
        )
    grow_gpu_memory()
    with own_settings():
        model = load_model(options.model, trust=options.trust)
        thresholds = set_thresholds(model, options, silent)
    fitting = reported_to(silent)

    def piece(_: int, described: Mapping[str, Any]) -> Record:
        files, broken = described["files"], BrokenImages()
        check_seen(files)
        names = zip(described["shown"], files, strict=True)
        images = [InputImage(shown, Path(path)) for shown, (path, _) in names]
        with micro_batches(fitting):
            batches = batches_of(model, images, options, thresholds, broken)
            found = [prediction for batch in batches for prediction in batch]
        return {"predictions": [_record(one) for one in found], "broken": broken.found}

    return piece


def _record(prediction: Prediction) -> dict[str, Any]:
    return {k: v for k, v in asdict(prediction).items() if k not in ("path", "file")}
