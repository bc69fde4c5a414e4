"""The utilisation of GPUs, as `nvidia-smi` gives it."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from tltool.training.gpu_usage import watch_gpus

PROGRAM = """#!/bin/sh
echo "$@" > "$(dirname "$0")/arguments"
printf '%s'
exec sleep 60
"""


def install(folder: Path, monkeypatch: pytest.MonkeyPatch, printed: str) -> None:
    program = folder / "nvidia-smi"
    program.write_text(PROGRAM % printed)
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")


@pytest.mark.parametrize(
    ("printed", "expected"),
    [
        ("10\\n 90\\n", {"mean": 50.0, "max": 90.0}),
        ("7\\n[N/A]\\n", {"mean": 7.0, "max": 7.0}),
    ],
)
def test_samples_are_summarised(tmp_path, monkeypatch, printed, expected):
    install(tmp_path, monkeypatch, printed)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,2")
    with watch_gpus(gpu=True) as utilisation:
        assert utilisation is not None
        ends = time.monotonic() + 20
        while utilisation.summary() != expected and time.monotonic() < ends:
            time.sleep(0.02)
        assert utilisation.summary() == expected
    assert "--id 0,2" in (tmp_path / "arguments").read_text()


def test_nothing_is_measured_without_a_gpu_or_without_the_program(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with watch_gpus(gpu=True) as utilisation:
        assert utilisation is None
    install(tmp_path, monkeypatch, "5")
    with watch_gpus(gpu=False) as utilisation:
        assert utilisation is None
