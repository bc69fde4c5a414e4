"""Cost of determinism and of checkpoints: whole runs of the default recipe, alternating.

python benchmarks/reproducibility.py [--rounds 3] [--recipe vgg16]

Reads hymenoptera from TLTOOL_TEST_DATA. Each round trains three times, each in its own process: as
shipped, without determinism, and without checkpoints. Prints Markdown: medians of wall and CPU
seconds, and the ratio of the shipped settings to each variant.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

START = "from tltool.cli.main import run; run()"
# disables everything that makes a run resumable
NO_CHECKPOINTS = """
import tltool.runs.state as state, tltool.features.feature_store as store
state.StateFolder.save = lambda self, what: None
def commit(self): self.rows = self._written
store.FeatureStore.commit = commit
"""
VARIANTS = {
    "as shipped": ("", []),
    "train.deterministic: false": ("", ["--set", "train.deterministic=false"]),
    "no checkpoints": (NO_CHECKPOINTS, []),
}


def seconds(variant: str, recipe: str, data: Path) -> tuple[float, float]:
    """Return wall and CPU seconds of one run."""
    before, flags = VARIANTS[variant]
    with tempfile.TemporaryDirectory() as folder:
        command = [
            sys.executable,
            "-c",
            before + START,
            "finetune",
            str(data),
            "--recipe",
            recipe,
        ]
        command += ["--out", f"{folder}/run", "--set", "export.enabled=false", "--offline", *flags]
        started = time.perf_counter()
        child = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        _, status, usage = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
        if child.returncode:
            sys.exit(f"{' '.join(command)} failed")
        return time.perf_counter() - started, usage.ru_utime + usage.ru_stime


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--recipe", default="vgg16")
    args = parser.parse_args()
    data = Path(os.environ["TLTOOL_TEST_DATA"]) / "hymenoptera"
    taken: dict[str, list[tuple[float, float]]] = {variant: [] for variant in VARIANTS}
    for _ in range(args.rounds):
        for variant, times in taken.items():
            times.append(seconds(variant, args.recipe, data))
    print(f"`{args.recipe}`, hymenoptera, medians of {args.rounds} alternating runs.\n")
    print(
        "| variant | wall s | CPU s | as shipped, wall | as shipped, CPU |\n|---|---|---|---|---|"
    )
    shipped = taken["as shipped"]
    for variant, times in taken.items():
        wall, cpu = (statistics.median(column) for column in zip(*times, strict=True))
        ratios = [
            statistics.median(one[k] / other[k] for one, other in zip(shipped, times, strict=True))
            for k in (0, 1)
        ]
        print(f"| {variant} | {wall:.0f} | {cpu:.0f} | {ratios[0]:.2f} | {ratios[1]:.2f} |")


if __name__ == "__main__":
    main()
