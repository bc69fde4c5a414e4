"""The checks of gpu_check.py that start other processes: the commands of tltool, and XLA."""

import csv
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

from tensorflow.python.framework.config import is_op_determinism_enabled

from benchmarks import gpu_parts
from benchmarks.gpu_parts import Finding, at_most, expected
from benchmarks.gpu_setup import FULL, Setup
from tltool.models.backbone_registry import get_backbone

_TIMEOUT = 240  # seconds of one command
_EPOCHS = ("train.head.epochs=1", "train.finetune.epochs=2", "train.early_stopping.patience=9")


def commands(setup: Setup) -> Iterator[Finding]:
    """``tltool finetune`` twice, and the export on a CPU against the run on the device."""
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        manifests = [_finetune(setup, work, number) for number in (1, 2)]
        for manifest in manifests:
            seconds = round(sum(manifest["seconds"].values()))
            yield Finding(f"tltool finetune on {manifest['device']}", seconds, "s")
        yield Finding("augmentation was computed on", manifests[0]["augmentation"]["device"])
        digests = {manifest["model_digest"] for manifest in manifests}
        yield expected("two runs of tltool finetune, bit-identical", len(digests) == 1)
        on_device = _predicted(setup, work / "run1", work / "device.csv", {})
        export = manifests[0]["export"]
        on_cpu = _predicted(setup, export, work / "cpu.csv", {"CUDA_VISIBLE_DEVICES": "-1"})
        largest = max(abs(on_device[key] - on_cpu[key]) for key in on_device.keys() | on_cpu.keys())
        what = "export, made on the device, on a CPU: largest difference of a probability"
        yield at_most(what, largest, 0.02)


def xla(setup: Setup) -> Iterator[Finding]:
    """The training step with XLA, in a process without deterministic operations.

    XLA cannot compile their gradients, and they cannot be switched off again.
    """
    if not is_op_determinism_enabled():
        yield from gpu_parts.xla(setup)
        return
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder) / "findings.jsonl"
        small = ["--small"] if setup.scale.networks.keys() != FULL.networks.keys() else []
        _python("benchmarks.gpu_check", "--only", "xla", "--output", output, *small)
        for line in output.read_text(encoding="utf-8").splitlines():
            row = json.loads(line)
            yield Finding(**{name: row[name] for name in Finding.__dataclass_fields__})


def _finetune(setup: Setup, work: Path, number: int) -> dict:
    run = work / f"run{number}"
    backbone = next(iter(setup.scale.networks))
    recipe = (
        f"model.backbone={backbone}", "model.weights=random", f"data.image_size={setup.scale.side}",
        f"train.batch_size={min(64, setup.scale.batch)}", "train.cache.mode=off",
        f"train.finetune.unfreeze={get_backbone(backbone).stages[-1].name}", *_EPOCHS,
    )  # fmt: skip
    settings = [word for setting in recipe for word in ("--set", setting)]
    _tltool(
        "finetune", setup.folder, "--recipe", "gpu", "--out", run, "--export-to", work / "models",
        "--name", f"check{number}", "--device", setup.device, "--offline", "--quiet", *settings,
    )  # fmt: skip
    manifest: dict = json.loads((run / "manifest.json").read_text(encoding="utf-8"))
    return manifest


def _predicted(
    setup: Setup, model: str | Path, output: Path, environment: Mapping[str, str]
) -> dict[tuple[str, str], float]:
    """Return the probability of each image and class."""
    _tltool(
        "predict", model, setup.folder, "--top", 2, "--output", output, "--quiet", "--offline",
        environment=environment,
    )  # fmt: skip
    with output.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    return {
        (row["path"], row[f"class_{place}"]): float(row[f"probability_{place}"])
        for row in rows
        for place in (1, 2)
    }


def _tltool(*words: object, environment: Mapping[str, str] | None = None) -> None:
    _python("tltool", *words, environment=environment)


def _python(module: str, *words: object, environment: Mapping[str, str] | None = None) -> None:
    done = subprocess.run(
        [sys.executable, "-m", module, *map(str, words)],
        capture_output=True,
        text=True,
        check=False,
        timeout=_TIMEOUT,
        env={**os.environ, **(environment or {})},
    )
    if done.returncode:
        end = done.stderr[-500:]
        raise RuntimeError(f"{module} {words[0]} ended with {done.returncode}: {end}")
