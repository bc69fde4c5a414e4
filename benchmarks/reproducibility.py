"""What determinism and the saved state cost: whole runs of the default recipe, in turn.

python benchmarks/reproducibility.py [--rounds 3] [--recipe vgg16]

Reads hymenoptera from TLTOOL_TEST_DATA. Each round trains three times in a process of its own: as
shipped, without determinism, and without keeping any state. Prints Markdown: medians of wall and
CPU seconds, and the ratio to the run without the thing in question.
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
# what a run does to be resumable, switched off
FORGETFUL = """
import tltool.runs.state as state, tltool.features.feature_store as store
state.StateFolder.save = lambda self, what: None
def commit(self): self.rows = self._written
store.FeatureStore.commit = commit
"""
WAYS = {
    "as shipped": ("", []),
    "train.deterministic: false": ("", ["--set", "train.deterministic=false"]),
    "no state kept": (FORGETFUL, []),
}


def seconds(way: str, recipe: str, photos: Path) -> tuple[float, float]:
    """Return wall and CPU seconds of one run."""
    before, flags = WAYS[way]
    with tempfile.TemporaryDirectory() as folder:
        command = [
            sys.executable,
            "-c",
            before + START,
            "finetune",
            str(photos),
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
    given = parser.parse_args()
    photos = Path(os.environ["TLTOOL_TEST_DATA"]) / "hymenoptera"
    taken: dict[str, list[tuple[float, float]]] = {way: [] for way in WAYS}
    for _ in range(given.rounds):
        for way, times in taken.items():
            times.append(seconds(way, given.recipe, photos))
    print(f"`{given.recipe}`, hymenoptera, medians of {given.rounds} alternating runs.\n")
    print("| way | wall s | CPU s | as shipped, wall | as shipped, CPU |\n|---|---|---|---|---|")
    shipped = taken["as shipped"]
    for way, times in taken.items():
        wall, cpu = (statistics.median(column) for column in zip(*times, strict=True))
        ratios = [
            statistics.median(one[k] / other[k] for one, other in zip(shipped, times, strict=True))
            for k in (0, 1)
        ]
        print(f"| {way} | {wall:.0f} | {cpu:.0f} | {ratios[0]:.2f} | {ratios[1]:.2f} |")


if __name__ == "__main__":
    main()
