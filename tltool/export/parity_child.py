"""Run a SavedModel in a process that has TensorFlow and nothing else. Started by parity.py.

It proves that an export stands on its own, so it refuses to import tltool and Keras. TensorFlow
itself imports Keras when it can, to register its optimizers; refusing also halves those seconds.

One line of JSON on stdin names the model, the inputs (.npz) and where the outputs go (.npz).
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

FORBIDDEN = ("keras", "tf_keras", "tltool")
BATCH = 8  # bounds the memory of a large check


class Refusal:
    """An import hook that finds none of the forbidden packages' modules."""

    def find_spec(self, name: str, path: object = None, target: object = None) -> None:
        """Raise for a module inside a forbidden package; looking for the package is allowed."""
        if any(name.startswith(f"{package}.") for package in FORBIDDEN):
            raise ModuleNotFoundError(f"{name} is not to be used here")


def main() -> None:
    """Import TensorFlow, wait for the one request, answer it."""
    here = Path(__file__).resolve().parent
    sys.path[:] = [folder for folder in sys.path if Path(folder).resolve() != here]
    sys.meta_path.insert(0, Refusal())
    import tensorflow as tf

    line = sys.stdin.readline()
    if line:  # nothing comes if the parent gave up
        answer(tf, **json.loads(line))


def answer(tf: Any, *, model: str, inputs: str, outputs: str) -> None:
    """Feed ``inputs`` to both signatures of ``model`` and write what they say to ``outputs``."""
    import numpy as np

    loaded = tf.saved_model.load(model)
    with np.load(inputs) as given:
        arrays = given["arrays"]
        ends = given["ends"]
        contents = given["contents"].tobytes()
    images = [contents[start:end] for start, end in zip([0, *ends[:-1]], ends, strict=True)]
    from_bytes = loaded.signatures["serving_default"]
    from_images = loaded.signatures["images"]
    found = {
        **batched("bytes", lambda part: from_bytes(image_bytes=tf.constant(part)), images),
        **batched("images", lambda part: from_images(images=tf.constant(part)), arrays),
    }
    once, again = (from_images(images=tf.constant(arrays[:1])) for _ in range(2))
    found["repeat_difference"] = np.max(np.abs(once["probabilities"] - again["probabilities"]))
    imported = [name for name in FORBIDDEN if name in sys.modules]
    if imported:
        raise RuntimeError(f"loading the model imported {', '.join(imported)}")
    np.savez(outputs, **found)


def batched(prefix: str, ask: Callable[[Any], dict[str, Any]], items: Any) -> dict[str, Any]:
    """Return each output of ``ask`` over all items, under ``prefix_name``."""
    import numpy as np

    parts = [ask(items[start : start + BATCH]) for start in range(0, len(items), BATCH)]
    return {
        f"{prefix}_{name}": np.concatenate([part[name].numpy() for part in parts])
        for name in parts[0]
        if name != "class_name"  # of type object, which a plain .npz does not hold
    }


if __name__ == "__main__":
    main()
