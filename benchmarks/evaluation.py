"""The time that evaluation and report add to a run of the default recipe.

python -m benchmarks.evaluation [--rounds 3] [--recipe vgg16]

Reads hymenoptera from TLTOOL_TEST_DATA; its val images are the validation set. Each step between
the last epoch and the export is timed inside the run, and compared with the rest of the run. Prints
Markdown.
"""

import argparse
import functools
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tltool.recipe.load import load_recipe
from tltool.workflows.finetune import finetune
from tltool.workflows.training_run import finish, report

STEPS = {
    "calibration, OOD threshold": (finish, "calibrate"),
    "predictions": (finish, "predict_part"),
    "label errors": (finish, "find_label_errors"),
    "metrics, intervals, slices": (finish, "_metrics"),
    "tables": (finish, "_write_tables"),
    "plots": (finish, "_draw_plots"),
    "Grad-CAM of the worst errors": (report, "heat_map_images"),
    "report page": (report, "write_report"),
}


def timed(function: Callable[..., Any], name: str, seconds: dict[str, float]) -> Callable[..., Any]:
    """Return ``function`` with its wall time recorded under ``name``."""

    @functools.wraps(function)
    def run(*args: Any, **kwargs: Any) -> Any:
        started = time.perf_counter()
        try:
            return function(*args, **kwargs)
        finally:
            seconds[name] = time.perf_counter() - started

    return run


def one_run(recipe: str, data: Path, folder: Path) -> tuple[dict[str, float], float, int]:
    """Train once; return seconds by step, seconds of the whole run, and bytes of the page."""
    seconds: dict[str, float] = {}
    before = {name: getattr(room, function) for name, (room, function) in STEPS.items()}
    for name, (room, function) in STEPS.items():
        setattr(room, function, timed(before[name], name, seconds))
    try:
        result = finetune(
            data, recipe=load_recipe(recipe), out=folder / "run", saved_models=folder / "exports"
        )
    finally:
        for name, (room, function) in STEPS.items():
            setattr(room, function, before[name])
    page = (result.run / "report.html").stat().st_size
    return seconds, result.seconds["total"], page


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--recipe", default="vgg16")
    options = parser.parse_args()
    data = Path(os.environ["TLTOOL_TEST_DATA"]) / "hymenoptera"
    rounds = []
    for _ in range(options.rounds):
        with tempfile.TemporaryDirectory() as folder:
            rounds.append(one_run(options.recipe, data, Path(folder)))
    rest = statistics.median(total - sum(steps.values()) for steps, total, _ in rounds)
    print(f"`{options.recipe}`, hymenoptera, medians of {options.rounds} runs.\n")
    print("| step | seconds | share of the rest of the run |\n|---|---|---|")
    for name in STEPS:
        spent = statistics.median(steps[name] for steps, _, _ in rounds)
        print(f"| {name} | {spent:.2f} | {spent / rest:.1%} |")
    spent = statistics.median(sum(steps.values()) for steps, _, _ in rounds)
    print(f"| **evaluation and report** | {spent:.2f} | {spent / rest:.1%} |")
    print(f"| audit, training, export | {rest:.1f} | |")
    print(f"\nThe report has {max(page for _, _, page in rounds) / 1e6:.2f} MB.")


if __name__ == "__main__":
    main()
