"""Is the average of several fine-tunings better than one? Also: is one setting better than another?

python -m benchmarks.weight_averages [--draws 0] [--recipe vgg16] [--size 128] [--members 2]
                                     [--settings KEY=VALUE,...] [--folder build/refit]

Draws of flowers128 as in refit.py: those below 100 are for choosing, the others for reporting. All
labelled images are training images, as in a refit, so that nothing is chosen: every member begins
as the linear probe and is fine-tuned for all epochs of the recipe, with another order of images,
other draws of the cached views and another dropout. The average is that of the weights of the
members (Wortsman et al. 2022, arXiv:2203.05482); it is one network of the usual size.

Prints a row for the probe, each member and each average: accuracy on the test images; log-loss at
the temperature that is best for the test images, because no image is left to fit it on; and CPU
seconds of the fine-tuning. The rows compare settings; log-losses of a shipped model are higher.
"""

import argparse
import os
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np

from benchmarks.protocol_sets import write_table
from benchmarks.refit import TestImages, cpu_seconds, extract_test, flowers, logits_of, pooled_of
from tltool.evaluation.metrics.probability_scores import log_loss
from tltool.inference import softmax
from tltool.models.network_parts import Network
from tltool.recipe.load import load_recipe
from tltool.runs.run_options import RunOptions
from tltool.training.early_stopping import LastModel
from tltool.training.phase_plan import PhaseData
from tltool.training.temperature import fit_temperature
from tltool.training.training_loop import Trainer
from tltool.workflows.resolve.run_spec import resolve
from tltool.workflows.training_run.class_balance import class_balance
from tltool.workflows.training_run.context import RunContext
from tltool.workflows.training_run.features import TrainingFeatures, extract_features
from tltool.workflows.training_run.lifecycle import run_context
from tltool.workflows.training_run.linear_probe import refit_on, vectors
from tltool.workflows.training_run.phases import finetune_phase, fit_probe, load_state
from tltool.workflows.training_run.setup import build_network, fetch_weights, open_dataset

_APART = 1000  # between the seeds of members, and between their epochs


def begin(run: RunContext, network: Network) -> tuple[TrainingFeatures, Sequence[keras.Variable]]:
    """Give the network the probe on all labelled images; return features and trained variables."""
    dataset = open_dataset(run)
    state = load_state(run, network)
    features = extract_features(run, network, dataset)
    fit_probe(run, features, state)
    features = features.with_views()
    for variable, value in zip(state.best.variables, state.untrained, strict=True):
        variable.assign(value)
    features = features.with_validation()
    network.standardize(features.head_inputs)
    assert state.probe is not None and features.pretrained is not None
    train = features.images.train
    probe = refit_on(run.recipe, state.probe, vectors(features.pretrained.train), train)
    network.set_linear_head(probe.kernel, probe.bias)
    return features, state.best.variables


def train_member(
    run: RunContext, features: TrainingFeatures, variables: Sequence[keras.Variable], member: int
) -> None:
    """Fine-tune the network for all epochs, without validation."""
    balance = class_balance(run.recipe, features.images.train, features.views)
    phase = finetune_phase(run.spec, features, balance)
    assert phase is not None
    plan = replace(phase.plan, seed=phase.plan.seed + _APART * member)
    last = LastModel(variables, run.spec.monitor)
    trainer = Trainer(
        phase.input.network,
        phase.groups,
        plan,
        run.machine.strategy,
        phase.input.precision,
        [],
        variables,
    )
    data = PhaseData(phase.input.data(_APART * member).batches, validate=dict)
    trainer.run(data, best=last, observer=run.observer, before=None, keep=lambda _: None)
    last.restore()


def row(run: RunContext, network: Network, test: TestImages) -> str:
    """Return accuracy and log-loss at the best temperature, as cells."""
    logits = logits_of(network, pooled_of(run, network, test))
    probabilities = softmax(logits, fit_temperature(logits, test.labels))
    accuracy = float((logits.argmax(axis=1) == test.labels).mean())
    return f"{accuracy:.4f} | {log_loss(probabilities, test.labels):.4f}"


def run_draw(
    draw: int, recipe: str, size: int | None, members: int, settings: list[str], folder: Path
) -> None:
    """Train all members, and print the rows of a draw."""
    one, work = flowers(folder, draw), Path(tempfile.mkdtemp(dir=folder))
    one = replace(one, size=size or one.size)
    write_table(work / "images.csv", {"train": one.training}, 1)
    own = [f"seed={draw}", f"data.image_size={one.size}", "train.cache=on", "train.refit=on"]
    options = RunOptions(
        str(work / "images.csv"), out=work / "run", tensorboard=False, feature_cache=folder / "runs"
    )
    with run_context(resolve(load_recipe(recipe, [*own, *settings])), options) as run:
        network = build_network(run, fetch_weights(run), open_dataset(run))
        features, variables = begin(run, network)
        first = [np.array(variable) for variable in variables]
        test = extract_test(run, network, one, folder)
        cells, spent = row(run, network, test), 0.0
        print(f"| {draw} | {len(test.labels)} | probe | {cells} | – |", flush=True)
        sums = [np.zeros(value.shape) for value in first]
        for member in range(members):
            assign(variables, first)
            started = cpu_seconds()
            train_member(run, features, variables, member)
            spent += cpu_seconds() - started
            sums = [a + np.array(variable) for a, variable in zip(sums, variables, strict=True)]
            cells = row(run, network, test)
            print(f"| {draw} | {len(test.labels)} | member {member + 1} | {cells} | {spent:.0f} |")
            if member:
                assign(variables, [each / (member + 1) for each in sums])
                cells, what = row(run, network, test), f"average of {member + 1}"
                print(f"| {draw} | {len(test.labels)} | {what} | {cells} | {spent:.0f} |")
    shutil.rmtree(work)
    keras.backend.clear_session()


def assign(variables: Sequence[keras.Variable], values: Sequence[np.ndarray]) -> None:
    """Give each variable its value."""
    for variable, value in zip(variables, values, strict=True):
        variable.assign(value)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--draws", default="0")
    parser.add_argument("--recipe", default="vgg16")
    parser.add_argument("--size", type=int, help="pixels; 128 by default")
    parser.add_argument("--members", type=int, default=2)
    parser.add_argument("--settings", default="")
    parser.add_argument("--folder", type=Path, default=Path("build/refit"))
    args = parser.parse_args()
    args.folder.mkdir(parents=True, exist_ok=True)
    settings = [each for each in args.settings.split(",") if each]
    print(
        "| draw | n | model | accuracy | log-loss | CPU s |\n|---|---|---|---|---|---|", flush=True
    )
    for draw in (int(number) for number in args.draws.split(",")):
        run_draw(draw, args.recipe, args.size, args.members, settings, args.folder)


if __name__ == "__main__":
    main()
