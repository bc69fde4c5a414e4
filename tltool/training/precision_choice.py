"""Choose between float32 and bfloat16 on a CPU by a measurement that is remembered."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal

import numpy as np
import tensorflow as tf

from tltool.errors import EnvironmentProblem
from tltool.models.network_parts import Network
from tltool.runs.environment import flags, machine
from tltool.runs.user_cache import user_cache
from tltool.storage.durable import write_durably
from tltool.training.precision import FLOAT32, Precision, choose_precision, cpu_has_bfloat16
from tltool.training.validation import Pooling

FORMAT = 1  # of a file; a file of another format is measured again
_SLOWER = 1.1  # noise reaches some percent: only a larger difference changes the choice
_ROUNDS = (2, 3)  # at least, and at most
_SECONDS = 1.5  # of wall time, after which the last round is left out
_IMAGES = 2
_SMALL = 1_000_000  # parameters: below it both take milliseconds, which are all noise

Measured = tuple[tuple[float, float], ...]


def measured_precision(network: Network) -> Precision:
    """Return the arithmetic in which ``network`` infers faster on this CPU.

    The rule: float32 on a processor without instructions for bfloat16. On one with them bfloat16,
    unless it takes more than 1.1 of the processor time of float32 in each of two or three rounds
    of two images. The result is kept in the user's cache (``TLTOOL_MEASUREMENTS_DIR``) for the
    processor, its cores, TensorFlow's version and flags, the backbone and the size of the images to
    the next power of two, so that later runs choose the same. Networks of less than a million
    parameters are not measured.

    Args:
        network: before training.

    Examples:
        >>> measured_precision(network).arithmetic
        'bfloat16'
    """
    if not cpu_has_bfloat16():
        return FLOAT32
    bfloat16 = choose_precision("bfloat16", gpu=False)
    if network.backbone.parameters < _SMALL:
        return bfloat16
    key = _key(network)
    known = _recall(key)
    if known is None:
        rounds = measure(Pooling(network.images_to_pooled, FLOAT32), network, bfloat16)
        known = choose(rounds)
        _remember(key, known, rounds)
    return FLOAT32 if known == "float32" else bfloat16


def choose(rounds: Measured) -> Literal["float32", "bfloat16"]:
    """Return the arithmetic by seconds (float32, bfloat16) of each round."""
    slower = all(bfloat16 > _SLOWER * float32 for float32, bfloat16 in rounds)
    return "float32" if slower else "bfloat16"


def measure(
    run: Callable[[tf.Tensor], np.ndarray], network: Network, bfloat16: Precision
) -> Measured:
    """Return processor seconds (float32, bfloat16) of two or three rounds, which take turns."""
    images = tf.zeros((_IMAGES, *network.images.shape[1:]))

    def seconds(precision: Precision) -> float:
        with precision.active():
            started = time.process_time()
            run(images)
            return time.process_time() - started

    began = time.monotonic()
    for precision in (FLOAT32, bfloat16):  # the first call of each optimises the graph
        seconds(precision)
    least, most = _ROUNDS
    rounds: list[tuple[float, float]] = []
    while len(rounds) < least or (len(rounds) < most and time.monotonic() - began < _SECONDS):
        rounds.append((seconds(FLOAT32), seconds(bfloat16)))
    return tuple(rounds)


def _key(network: Network) -> dict[str, Any]:
    here = machine()
    side = max(network.images.shape[1:3])
    return {
        "format": FORMAT,
        "processor": here["processor"],
        "cores": here["cores"],
        "tensorflow": tf.__version__,
        "flags": flags(),
        "backbone": network.backbone.identity,
        "image_size": 1 << (side - 1).bit_length(),
    }


def _file(key: Mapping[str, Any]) -> Path:
    """Return the file of a measurement; raise EnvironmentProblem if there is no place for it."""
    digest = hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()[:16]
    folder = user_cache("measurements", variable="TLTOOL_MEASUREMENTS_DIR")
    return folder / f"precision-{digest}.json"


def _recall(key: Mapping[str, Any]) -> str | None:
    with suppress(OSError, ValueError, TypeError, KeyError, EnvironmentProblem):
        document = json.loads(_file(key).read_text(encoding="utf-8"))
        if document["key"] == key and document["choice"] in ("float32", "bfloat16"):
            return str(document["choice"])
    return None


def _remember(key: Mapping[str, Any], choice: str, rounds: Measured) -> None:
    """Write a measurement, where the cache can be written."""
    document = {"key": key, "choice": choice, "cpu_seconds": rounds}
    with suppress(OSError, EnvironmentProblem):
        file = _file(key)
        file.parent.mkdir(parents=True, exist_ok=True)
        write_durably(file, json.dumps(document, indent=2).encode())
