"""Does a refit help? Test images before and after it, in one run each.

python -m benchmarks.refit [--set flowers128] [--draws 100,101] [--recipe vgg16] [--size 224]
                           [--settings KEY=VALUE,...] [--folder build/refit]

Sets: flowers128 at 128 pixels, 100 labelled images per class, all other 3,817 as test; digits
(scikit-learn) at 48 pixels, 50 per class, 1,000 as test. --size is another input size. The images
of each flower class are divided at random in two halves: draws below 100 take their labelled images
from the first half and are for choosing settings (their test images are of this half, too), draws
from 100 on take them from the second half and are for reporting.

The frozen part of the network runs once over all images; what draws share is kept in the folder.
Test images are measured with the linear probe, with the best model, and after the refit, with the
temperature, OOD threshold and prediction sets of the best model. Prints three rows per draw:
accuracy, log-loss, calibration error (chance subtracted), share of test images that the OOD
detector accepts (95 % wanted), coverage of 90 % prediction sets; and CPU seconds up to the model.
"""

import argparse
import hashlib
import os
import resource
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np

from benchmarks.protocol_sets import SETS, Files, draw_training, write_table
from tltool.artifact import Calibration
from tltool.data.catalog import Item
from tltool.data.decoding.transcode import read_image_bytes
from tltool.evaluation.calibration.prediction_sets import (
    prediction_sets,
    set_threshold,
    uniform_draw_of_bytes,
)
from tltool.evaluation.metrics.calibration_error import calibration_metrics
from tltool.evaluation.metrics.probability_scores import log_loss
from tltool.events import SilentObserver
from tltool.features.extract import Extractor, Features
from tltool.features.image_source import ImageSource
from tltool.features.joined_features import JoinedRows
from tltool.inference import softmax
from tltool.models.network_parts import Network
from tltool.recipe.load import load_recipe
from tltool.runs.run_options import RunOptions
from tltool.training.cached_phase import pooled_from_cut
from tltool.training.validation import Pooling
from tltool.workflows.resolve.run_spec import resolve
from tltool.workflows.training_run.calibration import CalibrationResult, calibrate
from tltool.workflows.training_run.class_balance import balance_classes
from tltool.workflows.training_run.context import RunContext
from tltool.workflows.training_run.features import extract_features
from tltool.workflows.training_run.lifecycle import run_context
from tltool.workflows.training_run.phases import (
    fine_tune,
    fit_probe,
    load_state,
    restore_best,
    train_head,
)
from tltool.workflows.training_run.refit import refit
from tltool.workflows.training_run.setup import build_network, fetch_weights, open_dataset

_SEED = 2026  # of the halves
_REPORT_FROM = 100  # draws
_LEVEL = 0.9  # of prediction sets
_COLUMNS = "accuracy | log-loss | calibration error | OOD accepts | sets cover"


@dataclass(frozen=True)
class Draw:
    """Labelled images of one draw, and the images to test on."""

    size: int
    training: Files
    test: Files


def flowers(_: Path, draw: int) -> Draw:
    pool, _nothing = SETS["flowers128"].write(Path(), 0)
    classes = {name: sorted(files) for name, files in pool.items()}
    halves: list[Files] = [{}, {}]
    for name, files in classes.items():
        order = np.random.default_rng(_SEED).permutation(len(files))
        parts = (order[: len(order) // 2], order[len(order) // 2 :])
        for half, part in zip(halves, parts, strict=True):
            half[name] = [files[n] for n in part]
    own = halves[draw >= _REPORT_FROM]
    training = {name: draw_training({name: own[name]}, 100, draw, 1)[name] for name in own}
    among = classes if draw >= _REPORT_FROM else own
    test = {name: [f for f in among[name] if f not in training[name]] for name in among}
    return Draw(128, training, test)


def digits(folder: Path, draw: int) -> Draw:
    one = SETS["digits"]
    pool, test = one.write(folder / "digits", one.test)
    return Draw(one.size, draw_training(pool, 50, draw, 1), test)


DRAWS: dict[str, Callable[[Path, int], Draw]] = {"flowers128": flowers, "digits": digits}


@dataclass(frozen=True)
class TestImages:
    """Test images: their features at the cut, class numbers and draws of prediction sets."""

    features: Features
    labels: np.ndarray
    draws: np.ndarray


def extract_test(run: RunContext, network: Network, one: Draw, folder: Path) -> TestImages:
    """Return the features of the test images, of each class from the folder where they are."""
    stage = run.spec.first_trained_stage
    assert stage is not None
    extractor = Extractor(network.images, network.pooled, network.cut(stage))
    rows, pooled, labels, files = [], [], [], []
    for number, (name, test) in enumerate(one.test.items()):
        every = sorted([*one.training[name], *test])
        items = [Item(path, name) for path in every]
        source = ImageSource(
            items, np.full(len(items), number), len(one.test), run.spec.decode, batch_size=32
        )
        digest = hashlib.sha256("\n".join(map(str, every)).encode()).hexdigest()
        key = f"{run.spec.backbone.name}-{stage}-{one.size}-{name}-{digest[:16]}"
        with run.machine.precision.active():
            features = extractor.run(
                lambda start, source=source: source.original(start=start),
                folder / key,
                count=len(items),
                classes=len(one.test),
                observer=SilentObserver(),
            )
        assert features.activations is not None
        place = {path: position for position, path in enumerate(every)}
        chosen = [place[path] for path in test]
        rows.append(Chosen(features.activations, chosen))
        pooled.append(features.pooled[chosen])
        labels.append(np.full(len(test), number))
        files += test
    all_labels = np.concatenate(labels)
    joined = Features(np.arange(len(files)), all_labels, np.concatenate(pooled), JoinedRows(rows))
    draws = np.array([uniform_draw_of_bytes(read_image_bytes(path)) for path in files])
    return TestImages(joined, all_labels, draws)


class Chosen:
    """Some rows of a column, in another order."""

    def __init__(self, rows, numbers: list[int]) -> None:
        self._rows, self._numbers = rows, numbers

    def __len__(self) -> int:
        return len(self._numbers)

    def read(self, start: int, stop: int) -> np.ndarray:
        return self.take(range(start, min(stop, len(self))))

    def take(self, numbers) -> np.ndarray:
        return self._rows.take([self._numbers[number] for number in numbers])


def pooled_of(run: RunContext, network: Network, test: TestImages) -> np.ndarray:
    """Return the head's input for the test images."""
    stage = run.spec.first_trained_stage
    assert stage is not None
    to_pooled = Pooling(keras.Model(network.cut(stage), network.pooled), run.machine.precision)
    return pooled_from_cut(test.features, to_pooled, 128)


def logits_of(network: Network, pooled: np.ndarray) -> np.ndarray:
    """Return logits, float32 [N, C], for the head's input."""
    return np.asarray(network.pooled_to_logits.predict(pooled, batch_size=512, verbose=0))


def measure(
    run: RunContext, network: Network, test: TestImages, calibrated: CalibrationResult
) -> list[float]:
    """Return accuracy, log-loss, calibration error, share accepted and coverage of sets."""
    pooled = pooled_of(run, network, test)
    logits = logits_of(network, pooled)
    probabilities = softmax(logits, calibrated.temperature)
    known: Calibration = calibrated.calibration
    assert known.detector is not None
    sets = prediction_sets(
        probabilities, test.draws, set_threshold(known.conformity, _LEVEL, known.groups)
    )
    return [
        float((probabilities.argmax(axis=1) == test.labels).mean()),
        log_loss(probabilities, test.labels),
        calibration_metrics(probabilities, test.labels)["ece"],
        float((known.detector.scores(pooled) <= 1).mean()),
        float(sets[np.arange(len(sets)), test.labels].mean()),
    ]


def cpu_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def run_draw(
    name: str, draw: int, recipe: str, size: int | None, settings: list[str], folder: Path
) -> None:
    """Fit the probe, train, refit; measure after each, and print a row."""
    one, work = DRAWS[name](folder, draw), Path(tempfile.mkdtemp(dir=folder))
    one = replace(one, size=size or one.size)
    write_table(work / "images.csv", {"train": one.training}, 1)
    own = [f"seed={draw}", f"data.image_size={one.size}", "train.cache=on", "train.refit=auto"]
    options = RunOptions(
        str(work / "images.csv"), out=work / "run", tensorboard=False, feature_cache=folder / "runs"
    )
    started = cpu_seconds()
    with run_context(resolve(load_recipe(recipe, [*own, *settings])), options) as run:
        dataset_weights = fetch_weights(run)
        dataset = open_dataset(run)
        network = build_network(run, dataset_weights, dataset)
        state = load_state(run, network)
        features = extract_features(run, network, dataset)
        test_started = cpu_seconds()
        test = extract_test(run, network, one, folder)
        not_training = cpu_seconds() - test_started
        fit_probe(run, features, state)
        zeroth = cpu_seconds() - started - not_training
        again = cpu_seconds()
        probe_calibrated = calibrate(run, network, dataset, restore_best(run, features, state))
        probe = measure(run, network, test, probe_calibrated)
        not_training += cpu_seconds() - again
        features = features.with_views()
        balance = balance_classes(run, features.images, features.views)
        train_head(run, features, balance, state)
        fine_tune(run, features, balance, state)
        calibrated = calibrate(run, network, dataset, restore_best(run, features, state))
        first = cpu_seconds() - started - not_training
        before = measure(run, network, test, calibrated)
        again = cpu_seconds()
        refitted = refit(run, dataset, features, state, calibrated)
        second = first + cpu_seconds() - again
        after = measure(run, network, test, refitted)
    shutil.rmtree(work)
    keras.backend.clear_session()
    rows = (("probe", probe, zeroth), ("before", before, first), ("refitted", after, second))
    for what, figures, spent in rows:
        cells = " | ".join(f"{figure:.4f}" for figure in figures)
        print(f"| {draw} | {len(test.labels)} | {what} | {cells} | {spent:.0f} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--set", choices=DRAWS, default="flowers128")
    parser.add_argument("--draws", default="100,101,102,103,104")
    parser.add_argument("--recipe", default="vgg16")
    parser.add_argument("--size", type=int, help="pixels; by default that of the set")
    parser.add_argument("--settings", default="")
    parser.add_argument("--folder", type=Path, default=Path("build/refit"))
    args = parser.parse_args()
    args.folder.mkdir(parents=True, exist_ok=True)
    print(f"| draw | n | model | {_COLUMNS} | CPU s |")
    print("|---|---|---|---|---|---|---|---|---|", flush=True)
    for draw in (int(number) for number in args.draws.split(",")):
        settings = [each for each in args.settings.split(",") if each]
        run_draw(args.set, draw, args.recipe, args.size, settings, args.folder)


if __name__ == "__main__":
    main()
