"""Memory and utilisation of a run, recorded in its manifest."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace

from tltool.runs.peak_memory import peak_memory_mib
from tltool.training.gpu_usage import GpuUtilisation, peak_gpu_memory, watch_gpus
from tltool.workflows.training_run.context import RunContext


@contextmanager
def recorded_resources(run: RunContext) -> Iterator[None]:
    """Record the peak memory of the process and of each GPU, and how busy the GPUs were."""
    with watch_gpus(gpu=run.machine.gpu) as utilisation:
        try:
            yield
        except BaseException:
            with suppress(Exception):  # a full disk, say, must not hide the error of the run
                _record(run, utilisation)
            raise
        _record(run, utilisation)


def _record(run: RunContext, utilisation: GpuUtilisation | None) -> None:
    peaks = {"process": peak_memory_mib()}
    if run.machine.gpu:
        peaks |= peak_gpu_memory()
    busy = utilisation.summary() if utilisation else None
    run.record(replace(run.manifest, peak_memory=peaks, gpu_utilisation=busy))
