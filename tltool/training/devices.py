"""Choice of the devices that train, and facts about GPUs."""

from __future__ import annotations

from pathlib import Path

import tensorflow as tf

from tltool.errors import EnvironmentProblem
from tltool.runs.install_hint import gpu_hint
from tltool.runs.peers import Peers
from tltool.runs.run_options import Device

_COLLECTIVE_SECONDS = 600.0


def choose_devices(
    requested: Device, peers: Peers | None = None
) -> tuple[tf.distribute.Strategy, bool]:
    """Return the strategy for the requested devices and whether it uses GPUs.

    All visible GPUs train together through MirroredStrategy; the batch is divided among them.
    With ``peers`` they train together with those of other processes; this must then be the first
    use of TensorFlow in a process.

    Args:
        requested: the devices.
        peers: the processes that train together, if there are several.

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
        return (_connected() if peers else tf.distribute.get_strategy()), False
    for gpu in gpus:
        _grow_memory(gpu)
    if peers:
        return _connected(), True
    if len(gpus) == 1:
        return tf.distribute.get_strategy(), True
    return tf.distribute.MirroredStrategy(), True


def count_gpus() -> int:
    """Return how many GPUs TensorFlow finds."""
    return len(tf.config.list_physical_devices("GPU"))


def _connected() -> tf.distribute.Strategy:
    """Return the strategy of the workers of TF_CONFIG, all of which must call this.

    Peers that no longer do the same would wait for each other without end: a time limit ends it.
    """
    options = tf.distribute.experimental.CommunicationOptions(timeout_seconds=_COLLECTIVE_SECONDS)
    return tf.distribute.MultiWorkerMirroredStrategy(communication_options=options)


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
