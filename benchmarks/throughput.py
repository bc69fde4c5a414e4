"""How close the pieces come to what the bare network does, in one run.

python benchmarks/throughput.py [--photos 240] [--rounds 3]

Reads hymenoptera from TLTOOL_TEST_DATA. Prints Markdown with three ratios, each a median over
alternating rounds: extraction with decoding and augmentation against the bare forward pass; a
live fine-tune epoch against the same epoch in Keras' fit, both in float32; a cached fine-tune
epoch against a live one, in the arithmetic of the machine.
"""

import argparse
import os
import statistics
import tempfile
import time
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import keras
import numpy as np
import tensorflow as tf

from tltool.augment.spec import AugmentSpec
from tltool.data.decode import DecodeSpec
from tltool.data.sources.folder import read_folder
from tltool.events import SilentObserver
from tltool.features.extract import Extractor
from tltool.features.store import ActivationStore
from tltool.features.views import PhotoSource
from tltool.models.backbones import get_backbone
from tltool.models.build import build_model
from tltool.models.network import Network
from tltool.training.best import BestModel
from tltool.training.cached import finetune_data
from tltool.training.live import live_data
from tltool.training.loop import Trainer
from tltool.training.measure import HeadLogits, Pooling
from tltool.training.optimizers import Group
from tltool.training.plan import PhaseData, PhasePlan
from tltool.training.precision import FLOAT32, Precision, choose_precision
from tltool.training.schedules import Schedule

AUGMENT = AugmentSpec(flip="horizontal", crop=(0.6, 1.25))
QUIET = SilentObserver()


def make_network() -> Network:
    backbone = get_backbone("vgg16")
    settings = {"dropout": 0.2, "hidden_units": 1, "norm": "none", "weights": None, "seed": 0}
    model = build_model(backbone, image_size=(224, 224), classes=2, head="gap", **settings)
    return Network(model, backbone, "gap")


def clock(work) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def extraction(network: Network, train: PhotoSource, precision: Precision, rounds: int) -> None:
    extractor = Extractor(network.images, network.pooled, network.cut("block5"))
    batch = tf.random.uniform((train.batch_size, 224, 224, 3), maxval=255.0)
    steps = len(train) // train.batch_size
    store = ActivationStore(Path(tempfile.mkdtemp()), ram_fraction=0.4)

    def bare() -> None:
        with precision.active():
            for _ in range(steps):
                extractor.forward(batch)[0].numpy()

    def whole() -> None:
        with precision.active():
            photos = train.augmented(AUGMENT, seed=0, epoch=1)
            extractor.run(photos, count=len(train), classes=2, store=store, observer=QUIET)

    bare()
    pairs = [(clock(bare) / (steps * train.batch_size), clock(whole) / len(train))]
    pairs += [
        (clock(bare) / (steps * train.batch_size), clock(whole) / len(train))
        for _ in range(rounds - 1)
    ]
    ratio = statistics.median(alone / full for alone, full in pairs)
    speed = statistics.median(1 / full for _, full in pairs)
    print(
        f"| extraction of augmented photos against the bare forward pass | {speed:.1f} images/s | "
        f"{ratio:.2f} |"
    )


def trainer(network: Network, part: keras.Model, precision: Precision, steps: int) -> Trainer:
    variables = [v for group in network.trained_from("block5") for v in group]
    schedule = Schedule("constant", 1e-5, steps, 0)
    plan = PhasePlan(
        "finetune", 2, steps, schedule, "adamw", 0.0, 0.0, np.ones(2, np.float32), 0.0, 9, 0.0, 0
    )
    return Trainer(part, [Group(variables)], plan, tf.distribute.get_strategy(), precision, [])


def epoch_seconds(one: Trainer, data: PhaseData, network: Network) -> float:
    """Return the seconds of the second epoch, after tracing."""
    one.run(data, best=BestModel(network.model, "val_loss"), observer=QUIET)
    return float(one.history[-1]["seconds"])


def live_against_keras(network: Network, train: PhotoSource, rounds: int) -> None:
    head = HeadLogits(network.pooled_to_logits)
    to_pooled = Pooling(network.images_to_pooled, FLOAT32)
    steps = -(-len(train) // train.batch_size)
    data = live_data(
        train, train, augment=AUGMENT, to_pooled=to_pooled, head=head, seed=0, first_epoch=0
    )
    data = PhaseData(data.batches, lambda: {"val_loss": 0.0, "val_accuracy": 0.0})
    frozen = {v.path for group in network.trained_from("block5") for v in group}
    for layer in network.model.layers:
        layer.trainable = any(v.path in frozen for v in layer.variables)
    network.model.compile(
        keras.optimizers.Adam(1e-5), keras.losses.CategoricalCrossentropy(from_logits=True)
    )
    photos = [(images, labels) for _, images, labels in train.plain()]
    plain = tf.data.Dataset.from_generator(
        lambda: iter(photos),
        output_signature=(
            tf.TensorSpec((None, 224, 224, 3), tf.float32),
            tf.TensorSpec((None, 2), tf.float32),
        ),
    )
    network.model.fit(plain, epochs=1, verbose=0)
    ratios = []
    for _ in range(rounds):
        usual = clock(lambda: network.model.fit(plain, epochs=1, verbose=0))
        one = trainer(network, network.model, FLOAT32, steps)
        ratios.append(usual / epoch_seconds(one, data, network))
    print(
        f"| live epoch (`cache: off`, decoding and augmenting) against Keras' fit on decoded "
        f"photos, float32 | {len(train)} photos | {statistics.median(ratios):.2f} |"
    )


def cached_against_live(network: Network, train: PhotoSource, precision: Precision) -> None:
    cut = network.cut("block5")
    extractor = Extractor(network.images, network.pooled, cut)
    store = ActivationStore(Path(tempfile.mkdtemp()), ram_fraction=0.4)
    with precision.active():
        view = extractor.run(
            train.plain(), count=len(train), classes=2, store=store, observer=QUIET
        )
    head = HeadLogits(network.pooled_to_logits)
    steps = -(-len(train) // train.batch_size)
    tail = Pooling(keras.Model(cut, network.pooled), precision)
    cached = finetune_data(
        [view], view, train.labels, to_pooled=tail, head=head, batch_size=train.batch_size, seed=0
    )
    whole = keras.Model(cut, network.model.output)
    fast = epoch_seconds(trainer(network, whole, precision, steps), cached, network)
    told = {}
    for name, arithmetic in (("float32", FLOAT32), (precision.arithmetic, precision)):
        live = live_data(
            train,
            train,
            augment=AUGMENT,
            to_pooled=Pooling(network.images_to_pooled, arithmetic),
            head=head,
            seed=0,
            first_epoch=0,
        )
        told[name] = epoch_seconds(
            trainer(network, network.model, arithmetic, steps), live, network
        )
    for name, slow in told.items():
        print(
            f"| cached fine-tune epoch ({precision.arithmetic}) against a live one ({name}), "
            f"validation included | {fast:.1f} s against {slow:.1f} s | {slow / fast:.1f} |"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--photos", type=int, default=240)
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    folder = Path(os.environ["TLTOOL_TEST_DATA"]) / "hymenoptera"
    items = [item for item in read_folder(folder).items if item.given_split == "train"]
    items = items[:: max(1, len(items) // given.photos)][: given.photos]
    labels = np.array([int(item.label == "bees") for item in items])
    train = PhotoSource(items, labels, 2, DecodeSpec(224, 224, "crop"), 32)
    precision = choose_precision("auto", gpu=bool(tf.config.list_physical_devices("GPU")))
    print("| what | measured | ratio |\n|---|---|---|")
    extraction(make_network(), train, precision, given.rounds)
    cached_against_live(make_network(), train, precision)
    live_against_keras(make_network(), train, given.rounds)


if __name__ == "__main__":
    main()
