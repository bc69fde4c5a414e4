"""The checks of gpu_check.py that run in its process; each yields its findings one by one."""

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from benchmarks.gpu_setup import PRECISIONS, Setup, fit_rate, step_rate, training_step
from tltool.augment.augmenter import Augmenter
from tltool.augment.spec import AugmentSpec
from tltool.events import SilentObserver
from tltool.features.extract import Extractor
from tltool.models.network_parts import Network
from tltool.recipe.augment_section import AugmentSection
from tltool.training.devices import gpu_facts
from tltool.training.phase_plan import PhasePlan
from tltool.training.training_step import TrainingStep
from tltool.workflows.resolve.augmentation import augment_spec

# of the relative error of features against float32 on the CPU; float32 may be TF32 on a GPU
_LARGEST_ERRORS = {"float32": 0.002, "bfloat16": 0.02, "float16": 0.005}
_EPOCHS = (
    ("none", False), ("light", False), ("light", True), ("medium", False), ("medium", True),
)  # fmt: skip
_AUGMENTED_BATCHES = 4  # for a rate: the start of an iterator takes a second
_TOO_MANY = 60_000  # images of a batch that fits into no GPU


@dataclass(frozen=True)
class Finding:
    """One row of the table.

    Attributes:
        what: what was measured.
        value: the figure, or a word.
        unit: of the figure.
        goal: what it should be; empty if it is only reported.
        met: whether it is.
    """

    what: str
    value: float | str
    unit: str = ""
    goal: str = ""
    met: bool | None = None


def at_least(what: str, value: float, goal: float) -> Finding:
    """Return a finding whose value should be at least ``goal``."""
    return Finding(what, value, "", f"≥ {goal:g}", bool(value >= goal))


def at_most(what: str, value: float, goal: float, unit: str = "") -> Finding:
    """Return a finding whose value should be at most ``goal``."""
    return Finding(what, value, unit, f"≤ {goal:g}", bool(value <= goal))


def expected(what: str, met: bool) -> Finding:
    """Return a finding that should be true."""
    return Finding(what, "yes" if met else "no", "", "yes", bool(met))


def rate_of(what: str, value: float) -> Finding:
    """Return images per second."""
    return Finding(what, value, "images/s")


def devices(setup: Setup) -> Iterator[Finding]:
    """Device, driver and versions."""
    facts = gpu_facts() or {"names": ["no GPU: the figures below are those of a CPU"]}
    yield Finding("device", ", ".join(map(str, facts["names"])))  # type: ignore[call-overload]
    yield Finding("driver, CUDA", f"{facts.get('driver')}, {facts.get('cuda')}")
    yield Finding("TensorFlow, Keras", f"{tf.__version__}, {keras.__version__}")
    grows = [
        tf.config.experimental.get_memory_growth(gpu)
        for gpu in tf.config.get_visible_devices("GPU")
    ]
    if setup.gpu:
        yield expected("memory is allocated as it is needed", all(grows))


def numerics(setup: Setup) -> Iterator[Finding]:
    """Features in each arithmetic against float32 on the CPU, and the same call twice."""
    images = setup.batch[0][:8]
    for name, title in setup.scale.networks.items():
        with tf.device("/CPU:0"):
            reference = setup.network(name, "float32")
            exact = keras.Model(reference.images, reference.pooled)(images, training=False).numpy()
        for arithmetic in PRECISIONS:
            net = setup.network(name, arithmetic)
            net.model.set_weights(reference.model.get_weights())
            forward = Extractor(net.images, net.pooled, None).forward
            found, again = (np.asarray(forward(images)[0]) for _ in range(2))
            error = float(np.linalg.norm(found - exact) / np.linalg.norm(exact))
            what = f"{title}, {arithmetic}: features"
            yield at_most(f"{what}, relative error", error, _LARGEST_ERRORS[arithmetic])
            yield expected(f"{what}, bit-identical twice", np.array_equal(found, again))


def determinism(setup: Setup) -> Iterator[Finding]:
    """The weights after the same steps from the same seed, twice."""
    for name, title in setup.scale.networks.items():
        for arithmetic in ("bfloat16", "float16"):
            digests = {_digest_after_steps(setup, name, arithmetic) for _ in range(2)}
            what = f"{title}, {arithmetic}: weights after {setup.scale.steps} steps"
            yield expected(f"{what}, bit-identical twice", len(digests) == 1)


def _digest_after_steps(setup: Setup, name: str, arithmetic: str) -> str:
    keras.utils.set_random_seed(0)
    net = setup.network(name, arithmetic)
    before = net.digest()
    step = training_step(net, arithmetic, clip_norm=1.0)
    for images, labels in setup.epoch:
        sums = step(images, labels)
    if not np.isfinite(np.asarray(sums)).all() or net.digest() == before:
        raise ValueError(f"{name} in {arithmetic} was not trained: loss, hits, rows are {sums}")
    return net.digest()


def steps(setup: Setup) -> Iterator[Finding]:
    """The training step of the whole network in bfloat16 beside a bare ``fit``."""
    for name, title in setup.scale.networks.items():
        net = setup.network(name, "bfloat16")
        fit, own = fit_rate(setup, net), step_rate(setup, net)
        yield rate_of(f"{title}, bfloat16: Keras' fit, images in memory", fit)
        yield rate_of(f"{title}, bfloat16: tltool's step, images in memory", own)
        yield at_least(f"{title}: tltool's step against fit", own / fit, 0.9)


def xla(setup: Setup) -> Iterator[Finding]:
    """The step of the last network, whose normalisation is many small operations, with XLA."""
    name, title = list(setup.scale.networks.items())[-1]
    rates = []
    for jit in (False, True):
        net = setup.network(name, "bfloat16")
        own = "jit_compile" in {field.name for field in fields(PhasePlan)}
        rates.append(
            step_rate(setup, net, jit_compile=jit) if own else _plain_rate(setup, net, jit=jit)
        )
    whose = "tltool's step" if own else "a plain step"
    yield rate_of(f"{title}, bfloat16: {whose} with XLA", rates[1])
    yield Finding(f"{title}: {whose} with XLA against without", rates[1] / rates[0])


def _plain_rate(setup: Setup, net: Network, *, jit: bool) -> float:
    """Return images per second without tltool: a deterministic ``fit`` ignores XLA."""
    optimizer = keras.optimizers.AdamW(1e-4)
    optimizer.build(net.model.trainable_variables)

    @tf.function(jit_compile=jit, autograph=False)
    def step(images: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
        with tf.GradientTape() as tape:
            logits = tf.cast(net.model(images, training=True), tf.float32)
            loss = tf.reduce_mean(tf.nn.softmax_cross_entropy_with_logits(labels, logits))
        variables = net.model.trainable_variables
        optimizer.apply(tape.gradient(loss, [one.value for one in variables]), variables)
        return loss

    def work() -> None:
        for images, labels in setup.epoch:
            loss = step(images, labels)
        np.asarray(loss)

    return setup.rate(work, setup.scale.steps * setup.scale.batch)


def extraction(setup: Setup) -> Iterator[Finding]:
    """Feature extraction from files with augmentation, against the forward pass alone."""
    source = replace(setup.source, augment_on_gpu=True)
    spec = _policy("light")
    for name, title in setup.scale.networks.items():
        net = setup.network(name, "bfloat16")
        extractor = Extractor(net.images, net.pooled, net.cut(net.backbone.stages[-1].name))

        def bare(forward=extractor.forward) -> None:
            for images, _ in setup.epoch:
                outputs = forward(images)
            np.asarray(outputs[0])

        def whole(extractor=extractor) -> None:
            with tempfile.TemporaryDirectory() as folder:
                extractor.run(
                    lambda start: source.augmented(spec, seed=0, epoch=1, start=start),
                    Path(folder) / "pass",
                    count=len(source),
                    classes=2,
                    observer=SilentObserver(),
                )

        alone = setup.rate(bare, setup.scale.steps * setup.scale.batch)
        full = setup.rate(whole, len(source))
        yield rate_of(f"{title}, bfloat16: forward pass, images in memory", alone)
        yield rate_of(f"{title}, bfloat16: extraction of files, policy light", full)
        yield at_least(f"{title}: extraction against the forward pass", full / alone, 0.92)


def waiting(setup: Setup) -> Iterator[Finding]:
    """The share of an epoch on files beyond the time of its steps on images in memory.

    The loop runs ahead of a GPU, so the time inside the iterator does not say this.
    """
    for name, title in setup.scale.networks.items():
        net = setup.network(name, "bfloat16")
        step = training_step(net, "bfloat16")
        memory = step_rate(setup, net)
        for policy, on_device in _EPOCHS:
            live = _epoch_rate(setup, step, _policy(policy), on_device=on_device)
            where = " on the device" if on_device else ""
            what = f"{title}, files, policy {policy}{where}"
            yield rate_of(what, live)
            share = max(0.0, 1 - live / memory)
            aimed_at = on_device or policy == "none"
            said = f"{what}: waiting"
            yield at_most(said, share, 0.05) if aimed_at else Finding(said, share)


def _epoch_rate(setup: Setup, step: TrainingStep, spec: AugmentSpec, *, on_device: bool) -> float:
    """Return images per second of an epoch on files."""
    source = replace(setup.source, augment_on_gpu=on_device)

    def epoch() -> None:
        for _, images, labels in source.augmented(spec, seed=0, epoch=1):
            sums = step(images, labels)
        np.asarray(sums)

    return setup.rate(epoch, len(source))


def augmentation(setup: Setup) -> Iterator[Finding]:
    """Augmentation of a batch on the device against image by image on the CPU."""
    images, labels = setup.batch
    index = np.arange(len(images), dtype=np.int64)
    examples = tf.data.Dataset.from_tensor_slices((index, images, labels))
    many = examples.repeat(_AUGMENTED_BATCHES)
    settings = {"key": tf.constant([0, 1]), "batch_size": len(images)}
    for policy in ("light", "medium", "strong"):
        augmenter = Augmenter(_policy(policy), (setup.scale.side, setup.scale.side))
        in_tf_data = augmenter.batches(many, **settings)
        drawn = next(iter(augmenter.drawn_batches(examples, **settings)))
        _, exact, exact_labels = next(iter(in_tf_data))
        _, found, found_labels = augmenter.transform(drawn)
        difference = np.abs(np.asarray(found) - np.asarray(exact))
        what = f"policy {policy}, on the device against on the CPU"
        yield at_most(f"{what}: mean difference", float(difference.mean()), 0.01, "grey levels")
        wrong = float((difference > 0.5).mean())
        yield at_most(f"{what}: share of values that differ by over 0.5", wrong, 0.001)
        off = float(np.abs(np.asarray(found_labels) - np.asarray(exact_labels)).max())
        yield at_most(f"{what}: difference of labels", off, 1e-6)
        cpu = setup.rate(lambda data=in_tf_data: list(data), len(images) * _AUGMENTED_BATCHES)
        device = setup.rate(
            lambda one=augmenter, batch=drawn: np.asarray(one.transform(batch)[1][0, 0]),
            len(images),
        )
        yield rate_of(f"policy {policy} on the CPU", cpu)
        yield rate_of(f"policy {policy} on the device", device)


def memory(setup: Setup) -> Iterator[Finding]:
    """A batch that does not fit, and a step after it."""
    name = next(iter(setup.scale.networks))
    step, side = training_step(setup.network(name, "float32"), "float32"), setup.scale.side
    rows = _TOO_MANY if setup.gpu else setup.scale.batch
    try:
        images = tf.random.stateless_uniform((rows, side, side, 3), [1, 2])
        np.asarray(step(images, tf.one_hot(tf.zeros(rows, tf.int32), 2)))
        outcome = f"{rows} images fit"
    except tf.errors.ResourceExhaustedError:
        outcome = "ResourceExhaustedError"
    finally:
        images = None
    what = f"a batch of {rows} images"
    yield Finding(what, outcome, "", "ResourceExhaustedError" if setup.gpu else "")
    sums = np.asarray(step(*setup.batch))
    yield expected("a step after it", bool(np.isfinite(sums).all()))
    if setup.gpu:
        peak = tf.config.experimental.get_memory_info("GPU:0")["peak"]
        yield Finding("peak of the memory", peak / 2**30, "GiB")


def _policy(name: str) -> AugmentSpec:
    return augment_spec(AugmentSection(policy=name))
