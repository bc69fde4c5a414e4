"""Run an export in a process that has its runtime and nothing else. Started by fresh.py.

It proves that an export stands on its own, so it refuses to import what made it: tltool always,
Keras unless it is the runtime, TensorFlow where LiteRT or ONNX Runtime is. TensorFlow itself
imports Keras when it can, to register its optimizers; refusing also halves those seconds.

The argument names the runtime. One line of JSON on stdin names the model, the inputs (.npz) and
where the outputs go (.npz).
"""

from __future__ import annotations

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
    "keras": ("tltool",),
}
BATCH = 8  # bounds the memory of a large check

# images float32 [B, H, W, 3] to probabilities [B, C]
Ask = Callable[[Any], Any]
# arrays and encoded images to named answers
AskAll = Callable[[Any, list[bytes]], dict[str, Any]]


class Refusal:
    """An import hook that finds none of the forbidden packages' modules."""

    def __init__(self, forbidden: tuple[str, ...]) -> None:
        self._forbidden = forbidden

    def find_spec(self, name: str, path: object = None, target: object = None) -> None:
        """Raise for a module inside a forbidden package; looking for the package is allowed."""
        if any(name.startswith(f"{package}.") for package in self._forbidden):
            raise ModuleNotFoundError(f"{name} is not to be used here")


def main(runtime: str) -> None:
    """Import the runtime, wait for the one request, answer it."""
    here = Path(__file__).resolve().parent
    sys.path[:] = [folder for folder in sys.path if Path(folder).resolve() != here]
    sys.meta_path.insert(0, Refusal(FORBIDDEN[runtime]))
    open_model = RUNTIMES[runtime]()
    line = sys.stdin.readline()
    if not line:  # the parent gave up
        return
    request = json.loads(line)
    found = answers(open_model(request["model"]), request["inputs"])
    imported = [name for name in FORBIDDEN[runtime] if name in sys.modules]
    if imported:
        raise RuntimeError(f"loading the model imported {', '.join(imported)}")
    import numpy as np

    np.savez(request["outputs"], **found)


def answers(ask_all: AskAll, inputs: str) -> dict[str, Any]:
    """Return what the model says to the images in the file ``inputs``."""
    import numpy as np

    with np.load(inputs) as given:
        arrays, ends = given["arrays"], given["ends"].tolist()
        contents = given["contents"].tobytes()
    starts = [0, *ends][: len(ends)]
    return ask_all(arrays, [contents[a:b] for a, b in zip(starts, ends, strict=True)])


def tensorflow_runtime() -> Callable[[str], AskAll]:
    """Return what opens a SavedModel with TensorFlow."""
    import tensorflow as tf

    def open_model(path: str) -> AskAll:
        # whole, because its functions hold their variables by weak references only
        loaded = tf.saved_model.load(path)

        def from_bytes(name: str) -> Callable[[Any], dict[str, Any]]:
            return lambda part: loaded.signatures[name](image_bytes=tf.constant(part))

        def from_images(part: Any) -> dict[str, Any]:
            found: dict[str, Any] = loaded.signatures["images"](images=tf.constant(part))
            return found

        def ask_all(arrays: Any, images: list[bytes]) -> dict[str, Any]:
            found = {
                **batched("bytes", from_bytes("serving_default"), images),
                **batched("images", from_images, arrays),
                **repeated(lambda part: from_images(part)["probabilities"], arrays),
            }
            if "features" in loaded.signatures:
                found |= batched("features", from_bytes("features"), images[:BATCH])
            return found

        return ask_all

    return open_model


def litert_runtime() -> Callable[[str], AskAll]:
    """Return what opens a LiteRT file; whole numbers in and out are scaled as the file says."""
    import numpy as np
    from ai_edge_litert.interpreter import Interpreter

    def open_model(path: str) -> AskAll:
        interpreter = Interpreter(model_path=path, num_threads=os.cpu_count())
        entry, end = interpreter.get_input_details()[0], interpreter.get_output_details()[0]

        def ask(part: Any) -> Any:
            interpreter.resize_tensor_input(entry["index"], part.shape)
            interpreter.allocate_tensors()
            if entry["dtype"] != np.float32:
                scale, zero = entry["quantization"]
                limits = np.iinfo(entry["dtype"])
                part = np.clip(np.round(part / scale + zero), limits.min, limits.max)
            interpreter.set_tensor(entry["index"], part.astype(entry["dtype"]))
            interpreter.invoke()
            said = interpreter.get_tensor(end["index"])
            if end["dtype"] != np.float32:
                scale, zero = end["quantization"]
                said = (said.astype(np.float32) - zero) * np.float32(scale)
            return said

        return lambda arrays, images: float_answers(ask, arrays)

    return open_model


def onnx_runtime() -> Callable[[str], AskAll]:
    """Return what opens an ONNX file with ONNX Runtime."""
    import onnxruntime

    def open_model(path: str) -> AskAll:
        session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])

        def ask(part: Any) -> Any:
            return session.run(["probabilities"], {"images": part})[0]

        return lambda arrays, images: float_answers(ask, arrays)

    return open_model


def keras_runtime() -> Callable[[str], AskAll]:
    """Return what opens a .keras file with Keras, without running code from it."""
    import keras

    def open_model(path: str) -> AskAll:
        model = keras.saving.load_model(path, compile=False, safe_mode=True)

        def ask(part: Any) -> Any:
            return keras.ops.convert_to_numpy(model(part, training=False))

        return lambda arrays, images: float_answers(ask, arrays)

    return open_model


RUNTIMES = {
    "saved_model": tensorflow_runtime,
    "litert": litert_runtime,
    "onnx": onnx_runtime,
    "keras": keras_runtime,
}


def float_answers(ask: Ask, arrays: Any) -> dict[str, Any]:
    """Return the probabilities of all ``arrays``, and the seconds that they took."""
    import numpy as np

    started = time.perf_counter()
    parts = [ask(arrays[start : start + BATCH]) for start in range(0, len(arrays), BATCH)]
    seconds = time.perf_counter() - started
    return {
        "images_probabilities": np.concatenate(parts),
        "images_seconds": np.float64(seconds),
        **repeated(ask, arrays),
    }


def repeated(ask: Ask, arrays: Any) -> dict[str, Any]:
    """Return by how much two calls with the same image differ."""
    import numpy as np

    once, again = (np.array(ask(arrays[:1])) for _ in range(2))
    return {"repeat_difference": np.max(np.abs(once - again))}


def batched(prefix: str, ask: Callable[[Any], dict[str, Any]], items: Any) -> dict[str, Any]:
    """Return each output of ``ask`` over all items, and the seconds, under ``prefix_name``."""
    import numpy as np

    started = time.perf_counter()
    parts = [ask(items[start : start + BATCH]) for start in range(0, len(items), BATCH)]
    found = {
        f"{prefix}_{name}": np.concatenate([part[name].numpy() for part in parts])
        for name in parts[0]
        if parts[0][name].dtype.name != "string"  # of type object, which a plain .npz does not hold
    }
    return {**found, f"{prefix}_seconds": np.float64(time.perf_counter() - started)}


if __name__ == "__main__":
    main(sys.argv[1])
