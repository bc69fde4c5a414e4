"""Choice of the devices that train, and facts about GPUs."""

from __future__ import annotations

from contextlib import suppress
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
        return (_connected(peers) if peers else tf.distribute.get_strategy()), False
    grow_gpu_memory()
    if peers:
        return _connected(peers), True
    if len(gpus) == 1:
        return tf.distribute.get_strategy(), True
    return tf.distribute.MirroredStrategy(), True


def count_gpus() -> int:
    """Return how many GPUs TensorFlow finds."""
    return len(tf.config.list_physical_devices("GPU"))


def _connected(peers: Peers) -> tf.distribute.Strategy:
    """Return the strategy of the workers of TF_CONFIG, all of which must call this.

    Peers that no longer do the same would wait for each other without end: a time limit ends it.
    """
    options = tf.distribute.experimental.CommunicationOptions(timeout_seconds=_COLLECTIVE_SECONDS)
    resolver = tf.distribute.cluster_resolver.SimpleClusterResolver(
        tf.train.ClusterSpec({"worker": list(peers.addresses)}),
        task_type="worker",
        task_id=peers.rank,
        rpc_layer="grpc",
    )
    return tf.distribute.MultiWorkerMirroredStrategy(
        cluster_resolver=resolver, communication_options=options
    )


def _hide_gpus() -> None:
    try:
        tf.config.set_visible_devices([], "GPU")
    except RuntimeError:
        # the runtime has started already, which happens only if the caller used TensorFlow before
        return


def grow_gpu_memory() -> None:
    """Let this process take the memory of GPUs as it needs it, so that others have some too.

    It has no effect after TensorFlow has used a GPU.
    """
    for gpu in tf.config.list_physical_devices("GPU"):
        with suppress(RuntimeError):
            tf.config.experimental.set_memory_growth(gpu, True)


def share_gpus() -> bool:
    """Let worker processes use the GPUs too, and return whether this process has any."""
    grow_gpu_memory()
    return bool(tf.config.list_logical_devices("GPU"))


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
