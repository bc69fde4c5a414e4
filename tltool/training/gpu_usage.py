"""How much memory and time of the GPUs a run used."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from tempfile import TemporaryFile
from typing import IO

import tensorflow as tf

_SECONDS = 2


def peak_gpu_memory() -> dict[str, int]:
    """Return the most memory that TensorFlow had allocated on each visible GPU, MiB, by name."""
    peaks = {}
    for device in tf.config.list_logical_devices("GPU"):
        name = device.name.removeprefix("/device:")
        with suppress(ValueError):  # some devices do not count
            peaks[name] = round(tf.config.experimental.get_memory_info(name)["peak"] / 2**20)
    return peaks


class GpuUtilisation:
    """Percentages of the time in which a kernel ran on a GPU, every two seconds.

    They are those of `nvidia-smi`, for the GPUs of CUDA_VISIBLE_DEVICES.
    """

    def __init__(self, output: IO[bytes]) -> None:
        self._output = output

    def summary(self) -> dict[str, float] | None:
        """Return mean and maximum until now, percent; None where nothing was measured."""
        self._output.seek(0)
        lines = self._output.read().decode(errors="replace").splitlines()
        values = [int(line) for line in map(str.strip, lines) if line.isdecimal()]
        if not values:
            return None
        return {"mean": round(sum(values) / len(values), 1), "max": float(max(values))}


@contextmanager
def watch_gpus(*, gpu: bool) -> Iterator[GpuUtilisation | None]:
    """Measure the utilisation of the GPUs; nothing without ``gpu`` or without `nvidia-smi`."""
    program = shutil.which("nvidia-smi") if gpu else None
    if program is None:
        yield None
        return
    chosen = os.environ.get("CUDA_VISIBLE_DEVICES")
    command = [
        program,
        *(["--id", chosen] if chosen else []),
        "--query-gpu=utilization.gpu",
        "--format=csv,noheader,nounits",
        f"--loop={_SECONDS}",
    ]
    with TemporaryFile() as output:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.DEVNULL
        )
        try:
            yield GpuUtilisation(output)
        finally:
            process.terminate()
            process.wait()
