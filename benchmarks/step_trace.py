"""Time that the network waits for images, step by step, in one run.

python -m benchmarks.step_trace [--images 96] [--policies none,light,medium] [--only ResNet]

Reads hymenoptera from TLTOOL_TEST_DATA and runs at 224 pixels, decoding included: the pass of VGG16
that caches an augmented view, and fine-tune epochs without cache (`train.cache: off`) of VGG16,
ResNet-50 and ResNet-18 that train the last stage. Prints Markdown: images per second, the first
wait of a pass, the longest and the mean wait after it, and the fraction of the time that the
network waited (`data_wait` of a run). The first pass of each is excluded: it traces graphs.
"""

import argparse
import os
import tempfile
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import numpy as np
import tensorflow as tf

from benchmarks.pieces import hymenoptera, live_phase, network, second_epoch, trainer
from tltool.augment.spec import AugmentSpec
from tltool.data.step_trace import StepTrace
from tltool.events import SilentObserver
from tltool.features.extract import Extractor
from tltool.features.image_source import ImageSource
from tltool.recipe.augment_section import AugmentSection
from tltool.training.phase_plan import PhaseData
from tltool.training.precision import Precision, choose_precision
from tltool.workflows.resolve.augmentation import augment_spec

NETWORKS = {"vgg16": "VGG16", "resnet50": "ResNet-50", "resnet18": "ResNet-18"}
COLUMNS = ("first wait", "longest later", "mean later", "waited")


def view_trace(
    name: str, train: ImageSource, augment: AugmentSpec, precision: Precision
) -> StepTrace:
    """Return the trace of the pass that caches a view."""
    net = network(name)
    extractor = Extractor(net.images, net.pooled, net.cut(net.backbone.stages[-1].name))
    for view in (1, 2):
        trace = StepTrace()
        with tempfile.TemporaryDirectory() as folder, precision.active():
            extractor.run(
                lambda start, view=view, trace=trace: trace.over(
                    train.augmented(augment, seed=0, epoch=view, start=start)
                ),
                Path(folder) / "pass",
                count=len(train),
                classes=2,
                observer=SilentObserver(),
            )
    return trace


def epoch_trace(
    name: str, train: ImageSource, augment: AugmentSpec, precision: Precision
) -> StepTrace:
    """Return the trace of the second fine-tune epoch without cache; nothing is validated."""
    net = network(name)
    data = live_phase(net, train, augment, precision)
    traces: dict[int, StepTrace] = {1: StepTrace(), 2: StepTrace()}
    steps = -(-len(train) // train.batch_size)
    one = trainer(net, net.model, precision, stage=net.backbone.stages[-1].name, steps=steps)
    traced = PhaseData(
        lambda epoch: traces[epoch].over(data.batches(epoch)),
        lambda: {"val_loss": 0.0, "val_accuracy": 0.0},
    )
    second_epoch(one, traced)
    return traces[2]


def table_row(what: str, policy: str, trace: StepTrace, images: int) -> str:
    first, *later = (1000 * wait for wait in trace.waits)
    seconds = sum(trace.waits) + sum(trace.works)
    step = 1000 * np.mean(trace.works)
    figures = (
        f"{images / seconds:.1f}",
        f"{step:.0f} ms",
        f"{first:.0f} ms",
        f"{max(later):.1f} ms",
        f"{np.mean(later):.1f} ms",
        f"{trace.share:.1%}",
    )
    return f"| {what} | {policy} | {' | '.join(figures)} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=96)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--policies", default="none,light,medium")
    parser.add_argument("--only", default="", help="part of the text of the first column")
    args = parser.parse_args()
    train = hymenoptera(args.images, batch_size=args.batch)
    precision = choose_precision("auto", gpu=bool(tf.config.list_physical_devices("GPU")))
    print(f"| what | policy | images/s | per step | {' | '.join(COLUMNS)} |")
    print("|---|---|---|---|---|---|---|---|")
    runs = [("VGG16, cached view", "vgg16", view_trace)]
    runs += [(f"{title}, no cache", name, epoch_trace) for name, title in NETWORKS.items()]
    for what, name, trace_of in (run for run in runs if args.only in run[0]):
        for policy in args.policies.split(","):
            augment = augment_spec(AugmentSection(policy=policy))
            trace = trace_of(name, train, augment, precision)
            print(table_row(what, policy, trace, len(train)), flush=True)


if __name__ == "__main__":
    main()
