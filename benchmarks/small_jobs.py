"""CPU time of the small jobs: a first model, a prediction, an evaluation, a wrong argument.

python -m benchmarks.small_jobs [--rounds 3] [--only quick,predict,evaluate,wrong]

Needs the weights of VGG16 (tltool weights pull vgg16) and no other images: it writes scikit-learn's
digits, 1,797 images that the network sees at 48 pixels. Every job is the command itself in a new
process; figures are CPU seconds, user and system, with the child processes. Prints Markdown.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

SETTINGS = ("name=digits", "data.image_size=48")
WRONG = {
    "arguments in the wrong order": ["predict", "IMAGE", "RUN"],
    "a folder without images": ["predict", "RUN", "VOID"],
    "an unknown class in --assert": ["evaluate", "RUN", "DIGITS", "--assert", "recall[wasps]>=0.9"],
    "a folder without model to serve": ["serve", "DIGITS"],
}

# The phases of a run are reported to its observer, which the command line does not replace.
# Keras is imported as the command line does it.
RUN = """
import json, os, sys
def seconds():
    return sum(os.times()[:4])
class Phases:
    def __init__(self):
        self.marks = [("start", 0.0)]
    def on_phase(self, name, detail=""):
        self.marks.append((name, seconds()))
    def __getattr__(self, name):
        return lambda *args, **kwargs: None
from pathlib import Path
from tltool.recipe.load import load_recipe
from tltool.runs.keras_setup import claim_keras, import_keras, prepare_with
prepare_with(lambda: None)
claim_keras()
import_keras()
from tltool.workflows.finetune import finetune
data, out, models, *settings = sys.argv[1:]
phases = Phases()
finetune(data, recipe=load_recipe("quick", settings), out=Path(out), saved_models=Path(models),
         observer=phases)
marks, totals = [*phases.marks, ("", seconds())], {}
for (name, begin), (_, end) in zip(marks, marks[1:]):
    totals[name] = totals.get(name, 0.0) + end - begin
print(json.dumps(totals))
"""


def cpu_seconds(command: Sequence[str], *, code: int = 0) -> float:
    """Run a command that ends with exit code ``code``; return its CPU seconds."""
    before = os.times()
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    after = os.times()
    if result.returncode != code:
        raise SystemExit(f"{command} ended with {result.returncode}: {result.stderr}")
    children = after.children_user + after.children_system
    return children - before.children_user - before.children_system


def tltool(*arguments: object, code: int = 0) -> float:
    """Return the CPU seconds of a command of tltool."""
    return cpu_seconds([sys.executable, "-m", "tltool", *map(str, arguments)], code=code)


def quick_run(digits: Path, folder: Path) -> dict[str, float]:
    """Train with the recipe quick; return CPU seconds by phase. ``start`` is the imports."""
    command = [sys.executable, "-c", RUN, digits, folder / "run", folder / "models", *SETTINGS]
    printed = subprocess.run(
        [*map(str, command)], stdout=subprocess.PIPE, text=True, check=True
    ).stdout
    phases: dict[str, float] = json.loads(printed.splitlines()[-1])
    return {**phases, "**quick, in all**": sum(phases.values())}


def one_round(digits: Path, folder: Path, jobs: Sequence[str]) -> dict[str, float]:
    """Return CPU seconds by phase or job."""
    seconds = quick_run(digits, folder)
    run, export, image = folder / "run", folder / "models" / "digits", digits / "7" / "0007.png"
    if "predict" in jobs:
        seconds["predict one image, run"] = tltool("predict", run, image)
        seconds["predict one image, export"] = tltool("predict", export, image)
    if "evaluate" in jobs:
        seconds["evaluate 1,797 images, run"] = tltool("evaluate", run, digits)
        seconds["evaluate 1,797 images, export"] = tltool("evaluate", export, digits)
    if "wrong" in jobs:
        (folder / "void").mkdir()
        names = {"RUN": run, "IMAGE": image, "DIGITS": digits, "VOID": folder / "void"}
        for name, arguments in WRONG.items():
            code = 2 if "--assert" in arguments else 3
            seconds[name] = tltool(*(names.get(word, word) for word in arguments), code=code)
    return seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", default="quick,predict,evaluate,wrong")
    options = parser.parse_args()
    rounds = []
    with tempfile.TemporaryDirectory() as folder:
        digits = Path(folder) / "digits"
        tltool("samples", "digits", "--out", digits)
        for number in range(options.rounds):
            place = Path(folder) / str(number)
            place.mkdir()
            rounds.append(one_round(digits, place, options.only.split(",")))
    load = os.getloadavg()[0]
    print(f"Medians of {options.rounds} rounds; {os.cpu_count()} cores, load {load:.1f}.\n")
    print("| phase or job | CPU seconds |\n|---|---|")
    for name in rounds[0]:
        print(f"| {name} | {statistics.median(one[name] for one in rounds):.2f} |")


if __name__ == "__main__":
    main()
