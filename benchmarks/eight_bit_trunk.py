"""What a frozen backbone in 8-bit integers would bring: time, similarity of features, accuracy.

python -m benchmarks.eight_bit_trunk [--sets hymenoptera,flowers128] [--train 60] [--litert]

Reads TLTOOL_TEST_DATA and the stored weights. The network up to the pooled features is converted to
ONNX, calibrated with 32 training images (onnxruntime, QDQ, a scale per channel of the kernels) and
run by onnxruntime and by OpenVINO; with --litert LiteRT's 8-bit model too. Time is processor time
an image, the median of rounds in which the ways take turns. Then a linear probe is fitted to the
features of each way (C = 0.01 and the same solver) and scored on the other images. The last column
is the largest change of a probability when this probe sees the features that tltool computes, as in
an export. The gate for using 8 bits: a loss of accuracy of at most 0.5 points on each set, and 1.5
times the speed of today for 1,000 images, conversion included.
"""

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import keras
import numpy as np
import tensorflow as tf

from tltool.data.decoding.decode_spec import DecodeSpec
from tltool.data.sources.folders.folder import read_folder
from tltool.evaluation.metrics.confidence_intervals import wilson_interval
from tltool.events import SilentObserver
from tltool.export.convert import with_built_in_layers
from tltool.features.image_source import ImageSource
from tltool.inference import softmax
from tltool.models.backbone_registry import get_backbone
from tltool.models.build import build_model
from tltool.models.network_parts import Network
from tltool.models.standardization import fit_standardization
from tltool.training.precision import FLOAT32, choose_precision
from tltool.training.softmax_regression import solve_softmax
from tltool.training.validation import Pooling
from tltool.weights.fetch_weights import obtain

Run = Callable[[np.ndarray], np.ndarray]
SIDES = {"hymenoptera": 224, "flowers128": 128}
BATCH = 16
CALIBRATION = 32
C = 0.01
HEAD = (
    "| images | way | ms an image, CPU | times as fast | cosine (least) | accuracy | points "
    "| largest change |\n|---|---|---|---|---|---|---|---|"
)


def images_of(name: str, per_class: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return images [N, H, W, 3], class numbers [N], and which of them train, bool [N]."""
    items = read_folder(Path(os.environ["TLTOOL_TEST_DATA"]) / name).items
    classes = sorted({item.label for item in items})
    chosen, trains = [], []
    for label in classes:
        own = [item for item in items if item.label == label]
        given = [item.given_split == "train" for item in own]
        if not any(given):
            own = own[: per_class * 3]
            given = [number < per_class for number in range(len(own))]
        chosen += own
        trains += given
    labels = np.array([classes.index(item.label) for item in chosen])
    side = SIDES[name]
    decode = DecodeSpec(side, side, "crop")
    source = ImageSource(chosen, labels, len(classes), decode, BATCH)
    images = np.concatenate([batch.numpy() for _, batch, _ in source.original()])
    return images, labels, np.array(trains)


def pretrained(name: str, side: int) -> Network:
    backbone = get_backbone(name)
    model = build_model(
        backbone,
        image_size=(side, side),
        classes=2,
        head="gap",
        dropout=0.0,
        hidden_units=1,
        norm="none",
        weights=obtain(name, offline=True, observer=SilentObserver()).path,
        seed=0,
    )
    return Network(model, backbone, "gap")


class Calibration:
    """One image after the other, as onnxruntime's quantizer reads them."""

    def __init__(self, images: np.ndarray) -> None:
        self._rest: Iterator[np.ndarray] = iter(images)

    def get_next(self) -> dict[str, np.ndarray] | None:
        image = next(self._rest, None)
        return None if image is None else {"images": image[np.newaxis]}


def quantized_onnx(model: keras.Model, images: np.ndarray, folder: Path) -> Path:
    import tf2onnx
    from onnxruntime.quantization import (
        CalibrationDataReader,
        QuantFormat,
        QuantType,
        quantize_static,
    )
    from onnxruntime.quantization.shape_inference import quant_pre_process

    CalibrationDataReader.register(Calibration)
    spec = [tf.TensorSpec((None, *model.input_shape[1:]), tf.float32, "images")]
    call = tf.function(
        lambda images: model(images, training=False), input_signature=spec, autograph=False
    )
    plain, ready, quantized = (folder / f"{name}.onnx" for name in ("plain", "ready", "quantized"))
    tf2onnx.convert.from_function(call, spec, opset=17, output_path=str(plain))
    quant_pre_process(str(plain), str(ready), skip_symbolic_shape=True)
    quantize_static(
        str(ready),
        str(quantized),
        Calibration(images),
        quant_format=QuantFormat.QDQ,
        per_channel=True,
        activation_type=QuantType.QUInt8,
        weight_type=QuantType.QInt8,
    )
    return quantized


def onnxruntime_way(path: Path) -> Run:
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return lambda images: session.run(None, {"images": images})[0]


def openvino_way(path: Path) -> Run:
    import openvino

    compiled = openvino.Core().compile_model(str(path), "CPU")
    return lambda images: compiled({"images": images})[0].copy()


def litert_way(model: keras.Model, images: np.ndarray) -> Run:
    from ai_edge_litert.interpreter import Interpreter

    converter = tf.lite.TFLiteConverter.from_keras_model(model)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = lambda: ([image[np.newaxis]] for image in images)
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    interpreter = Interpreter(model_content=converter.convert(), num_threads=os.cpu_count())
    entry, end = interpreter.get_input_details()[0], interpreter.get_output_details()[0]

    def run(batch: np.ndarray) -> np.ndarray:
        interpreter.resize_tensor_input(entry["index"], batch.shape)
        interpreter.allocate_tensors()
        interpreter.set_tensor(entry["index"], batch)
        interpreter.invoke()
        return np.asarray(interpreter.get_tensor(end["index"]))

    return run


def in_batches(run: Run, images: np.ndarray) -> np.ndarray:
    return np.concatenate([run(images[row : row + BATCH]) for row in range(0, len(images), BATCH)])


def milliseconds(ways: dict[str, Run], images: np.ndarray, rounds: int) -> dict[str, float]:
    spent: dict[str, list[float]] = {way: [] for way in ways}
    for number in range(rounds + 1):
        for way, run in ways.items():
            started = time.process_time()
            run(images)
            if number:  # the first round prepares
                spent[way].append(1000 * (time.process_time() - started) / len(images))
    return {way: statistics.median(times) for way, times in spent.items()}


def probe(features: np.ndarray, labels: np.ndarray) -> Run:
    """Return a function of features [N, D] to probabilities [N, classes]."""
    standard = fit_standardization(features)
    kernel, bias = solve_softmax(
        standard.apply(features), labels, classes=labels.max() + 1, strength=C, weights=None
    )
    return lambda rows: softmax(standard.apply(rows) @ kernel + bias)


def cosine(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    norms = np.linalg.norm(one, axis=1) * np.linalg.norm(other, axis=1)
    return (one * other).sum(1) / norms


def compare(name: str, backbone: str, per_class: int, rounds: int, *, litert: bool) -> None:
    images, labels, train = images_of(name, per_class)
    net = pretrained(backbone, SIDES[name])
    examples = images[train][:: max(1, train.sum() // CALIBRATION)][:CALIBRATION]
    today = choose_precision("auto", gpu=False)
    portable = with_built_in_layers(net.images_to_pooled)
    with tempfile.TemporaryDirectory() as folder:
        started = time.process_time()
        file = quantized_onnx(portable, examples, Path(folder))
        print(f"\nConversion to 8-bit ONNX: {time.process_time() - started:.0f} CPU s\n\n{HEAD}")
        pooling = Pooling(net.images_to_pooled, FLOAT32)
        ways: dict[str, Run] = {
            f"TensorFlow, {today.arithmetic}": Pooling(net.images_to_pooled, today),
            "onnxruntime, 8 bits": onnxruntime_way(file),
            "OpenVINO, 8 bits": openvino_way(file),
        }
        if litert:
            ways["LiteRT, 8 bits"] = litert_way(portable, examples)
        times = milliseconds(ways, images[:BATCH], rounds)
        first = next(iter(times.values()))
        exact = in_batches(pooling, images[~train][: 2 * BATCH])
        before: tuple[np.ndarray, np.ndarray] | None = None
        for way, run in ways.items():
            row = f"| {name} | {way} | {times[way]:.1f} | {first / times[way]:.2f} | "
            if way.startswith("LiteRT") and times[way] > first:
                print(f"{row}| | | |", flush=True)
                continue
            features = in_batches(run, images)
            answer = probe(features[train], labels[train])
            right = answer(features[~train]).argmax(1) == labels[~train]
            before = (right, features) if before is None else before
            change = np.abs(answer(before[1][~train]) - answer(features[~train])).max()
            low, high = wilson_interval(int(right.sum()), len(right))
            similarity = cosine(features[~train][: len(exact)], exact)
            print(
                f"{row}{similarity.mean():.4f} ({similarity.min():.4f}) | "
                f"{right.mean():.3f} ({low:.3f} to {high:.3f}) | "
                f"{100 * (right.mean() - before[0].mean()):+.1f} | {change:.3f} |",
                flush=True,
            )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--backbone", default="vgg16")
    parser.add_argument("--sets", default=",".join(SIDES))
    parser.add_argument("--train", type=int, default=60, help="per class, where no split is given")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--litert", action="store_true", help="also LiteRT's 8-bit model")
    args = parser.parse_args()
    for name in args.sets.split(","):
        compare(name, args.backbone, args.train, args.rounds, litert=args.litert)


if __name__ == "__main__":
    main()
