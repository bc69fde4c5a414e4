"""Choice of the devices that train, and facts about GPUs."""

from __future__ import annotations

from pathlib import Path

import tensorflow as tf

from tltool.errors import EnvironmentProblem
from tltool.runs.install_hint import gpu_hint
from tltool.runs.run_options import Device


def choose_devices(requested: Device) -> tuple[tf.distribute.Strategy, bool]:
    """Return the strategy for the requested devices and whether it uses GPUs.

    All visible GPUs train together through MirroredStrategy; the batch is divided among them.

    Raises:
        EnvironmentProblem: a GPU is requested and TensorFlow finds none.
    """
    gpus = tf.config.list_physical_devices("GPU")
    if requested == "gpu" and not gpus:
        raise EnvironmentProblem(
            "a GPU was requested, but TensorFlow finds none",
            hint=f"check `nvidia-smi` and use {gpu_hint()}; or --device auto",
        )
    if requested == "cpu" or not gpus:
        _hide_gpus()
        return tf.distribute.get_strategy(), False
    for gpu in gpus:
        _grow_memory(gpu)
    if len(gpus) == 1:
        return tf.distribute.get_strategy(), True
    return tf.distribute.MirroredStrategy(), True


def _hide_gpus() -> None:
    try:
        tf.config.set_visible_devices([], "GPU")
    except RuntimeError:
        # the runtime has started already, which happens only if the caller used TensorFlow before
        return


def _grow_memory(gpu: tf.config.PhysicalDevice) -> None:
    try:
        tf.config.experimental.set_memory_growth(gpu, True)
    except RuntimeError:
        return


def runs_ahead() -> bool:
    """Whether steps are computed asynchronously, as on GPUs: waiting for data is then free."""
    return bool(tf.config.get_visible_devices("GPU"))


def gpu_facts() -> dict[str, object] | None:
    """Return names, compute capabilities, driver and CUDA version of the GPUs in use, or None."""
    gpus = tf.config.get_visible_devices("GPU")
    if not gpus:
        return None
    details = [tf.config.experimental.get_device_details(gpu) for gpu in gpus]
    driver = Path("/proc/driver/nvidia/version")
    return {
        "names": [str(one.get("device_name", "unknown")) for one in details],
        "compute_capabilities": [list(one.get("compute_capability", ())) for one in details],
        "driver": driver.read_text().splitlines()[0] if driver.is_file() else None,
        "cuda": tf.sysconfig.get_build_info().get("cuda_version"),
    }
