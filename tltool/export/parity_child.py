"""Run an export in a process with its runtime only. Started by fresh_process.py.

It checks that an export is self-contained, so it blocks the import of the packages that created it:
always tltool, Keras unless it is the runtime, TensorFlow if LiteRT or ONNX Runtime is the runtime.
TensorFlow imports Keras if it can, to register its optimizers; blocking that also halves the time.

The argument is the runtime. One line of JSON on stdin gives the paths of the model, the inputs
(.npz) and the outputs (.npz).
"""

from __future__ import annotations

import gc
import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

FORBIDDEN = {
    "saved_model": ("keras", "tf_keras", "tltool"),
    "litert": ("tensorflow", "keras", "tf_keras", "tltool"),
    "onnx": ("tensorflow", "keras", "tf_keras", "tltool"),
    "openvino": ("tensorflow", "keras", "tf_keras", "tltool"),
    "keras": ("tltool",),
}
BATCH = 8  # bounds the memory of a large check

# images float32 [B, H, W, 3] to probabilities [B, C]
PredictBatch = Callable[[Any], Any]
# all arrays and encoded images to outputs by name
PredictAll = Callable[[Any, list[bytes]], dict[str, Any]]


class ImportBlocker:
    """An import hook that raises for modules of forbidden packages."""

    def __init__(self, forbidden: tuple[str, ...]) -> None:
        self._forbidden = forbidden

    def find_spec(self, name: str, path: object = None, target: object = None) -> None:
        """Raise for a module inside a forbidden package; the package itself may be looked up."""
        if any(name.startswith(f"{package}.") for package in self._forbidden):
            raise ModuleNotFoundError(f"the import of {name} is blocked")


def main(runtime: str) -> None:
    """Import the runtime, wait for one request and process it."""
    here = Path(__file__).resolve().parent
    sys.path[:] = [folder for folder in sys.path if Path(folder).resolve() != here]
    sys.meta_path.insert(0, ImportBlocker(FORBIDDEN[runtime]))
    gc.disable()  # imports and loading leave no garbage, and collections take a tenth of the time
    open_model = RUNTIMES[runtime]()
    line = sys.stdin.readline()
    if not line:  # the parent gave up
        return
    request = json.loads(line)
    model = open_model(request["model"])
    gc.freeze()
    gc.enable()
    outputs = run_model(model, request["inputs"])
    imported = [name for name in FORBIDDEN[runtime] if name in sys.modules]
    if imported:
        raise RuntimeError(f"loading the model imported {', '.join(imported)}")
    import numpy as np

    np.savez(request["outputs"], **outputs)


def run_model(predict_all: PredictAll, inputs: str) -> dict[str, Any]:
    """Return the outputs of the model for the images in the file ``inputs``."""
    import numpy as np

    with np.load(inputs) as file:
        arrays, ends = file["arrays"], file["ends"].tolist()
        contents = file["contents"].tobytes()
    starts = [0, *ends][: len(ends)]
    return predict_all(arrays, [contents[a:b] for a, b in zip(starts, ends, strict=True)])


def tensorflow_runtime() -> Callable[[str], PredictAll]:
    """Return a function that opens a SavedModel with TensorFlow."""
    import tensorflow as tf

    def open_model(path: str) -> PredictAll:
        # keep the whole object: its functions hold their variables by weak references only
        loaded = tf.saved_model.load(path)

        def from_bytes(name: str) -> Callable[[Any], dict[str, Any]]:
            return lambda part: loaded.signatures[name](image_bytes=tf.constant(part))

        def from_images(part: Any) -> dict[str, Any]:
            outputs: dict[str, Any] = loaded.signatures["images"](images=tf.constant(part))
            return outputs

        def predict_all(arrays: Any, images: list[bytes]) -> dict[str, Any]:
            outputs = {
                **batched("bytes", from_bytes("serving_default"), images),
                **batched("images", from_images, arrays),
                **repeated(lambda part: from_images(part)["probabilities"], arrays),
            }
            if "features" in loaded.signatures:
                outputs |= batched("features", from_bytes("features"), images[:BATCH])
            return outputs

        return predict_all

    return open_model


def litert_runtime() -> Callable[[str], PredictAll]:
    """Return a function that opens a LiteRT file; integer inputs and outputs are rescaled."""
    import numpy as np
    from ai_edge_litert.interpreter import Interpreter

    def open_model(path: str) -> PredictAll:
        interpreter = Interpreter(model_path=path, num_threads=os.cpu_count())
        entry, end = interpreter.get_input_details()[0], interpreter.get_output_details()[0]

        def predict(part: Any) -> Any:
            interpreter.resize_tensor_input(entry["index"], part.shape)
            interpreter.allocate_tensors()
            if entry["dtype"] != np.float32:
                scale, zero = entry["quantization"]
                limits = np.iinfo(entry["dtype"])
                part = np.clip(np.round(part / scale + zero), limits.min, limits.max)
            interpreter.set_tensor(entry["index"], part.astype(entry["dtype"]))
            interpreter.invoke()
            output = interpreter.get_tensor(end["index"])
            if end["dtype"] != np.float32:
                scale, zero = end["quantization"]
                output = (output.astype(np.float32) - zero) * np.float32(scale)
            return output

        return lambda arrays, images: batched_probabilities(predict, arrays)

    return open_model


def onnx_runtime() -> Callable[[str], PredictAll]:
    """Return a function that opens an ONNX file with ONNX Runtime."""
    import onnxruntime

    def open_model(path: str) -> PredictAll:
        session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])

        def predict(part: Any) -> Any:
            return session.run(["probabilities"], {"images": part})[0]

        return lambda arrays, images: batched_probabilities(predict, arrays)

    return open_model


def openvino_runtime() -> Callable[[str], PredictAll]:
    """Return a function that opens an OpenVINO file, in float32 on all processors."""
    import openvino

    def open_model(path: str) -> PredictAll:
        compiled = openvino.Core().compile_model(path, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})

        def predict(part: Any) -> Any:
            return compiled({"images": part})["probabilities"]

        return lambda arrays, images: batched_probabilities(predict, arrays)

    return open_model


def keras_runtime() -> Callable[[str], PredictAll]:
    """Return a function that opens a .keras file in Keras' safe mode."""
    import keras

    def open_model(path: str) -> PredictAll:
        model = keras.saving.load_model(path, compile=False, safe_mode=True)

        def predict(part: Any) -> Any:
            return keras.ops.convert_to_numpy(model(part, training=False))

        return lambda arrays, images: batched_probabilities(predict, arrays)

    return open_model


RUNTIMES = {
    "saved_model": tensorflow_runtime,
    "litert": litert_runtime,
    "onnx": onnx_runtime,
    "openvino": openvino_runtime,
    "keras": keras_runtime,
}


def batched_probabilities(predict: PredictBatch, arrays: Any) -> dict[str, Any]:
    """Return the probabilities of all ``arrays``, and the time in seconds."""
    import numpy as np

    started = time.perf_counter()
    parts = [predict(arrays[start : start + BATCH]) for start in range(0, len(arrays), BATCH)]
    seconds = time.perf_counter() - started
    return {
        "images_probabilities": np.concatenate(parts),
        "images_seconds": np.float64(seconds),
        **repeated(predict, arrays),
    }


def repeated(predict: PredictBatch, arrays: Any) -> dict[str, Any]:
    """Return the largest difference between two calls with the same image."""
    import numpy as np

    first, second = (np.array(predict(arrays[:1])) for _ in range(2))
    return {"repeat_difference": np.max(np.abs(first - second))}


def batched(prefix: str, predict: Callable[[Any], dict[str, Any]], items: Any) -> dict[str, Any]:
    """Return each output of ``predict`` for all items as ``prefix_name``, and the seconds."""
    import numpy as np

    started = time.perf_counter()
    parts = [predict(items[start : start + BATCH]) for start in range(0, len(items), BATCH)]
    outputs = {
        f"{prefix}_{name}": np.concatenate([part[name].numpy() for part in parts])
        for name in parts[0]
        if parts[0][name].dtype.name != "string"  # of type object, which a plain .npz does not hold
    }
    return {**outputs, f"{prefix}_seconds": np.float64(time.perf_counter() - started)}


if __name__ == "__main__":
    main(sys.argv[1])
