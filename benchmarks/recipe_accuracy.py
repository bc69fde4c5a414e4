"""Accuracy and cost of recipes on real images, seed by seed.

python -m benchmarks.recipe_accuracy [--recipes fast,mobile,strong] [--seeds 0,1,2] [--int8]
    [--sets published,honest,flowers128] [--settings KEY=VALUE,...]

Sets: ``published``: hymenoptera with its train and val as they are; val also selects the epoch.
``honest``: the same, but val is the test set, and validation images are drawn from train.
``flowers128``: 100 images per class, drawn by the seed, for training and validation; all others are
the test set. TLTOOL_TEST_DATA is the folder of the images. Exports, reports and searches for label
errors are left out of the runs. Prints a row per run: accuracy with its 95 % Wilson interval,
log-loss, accuracy of the linear probe on the same images, and CPU seconds of the process; with
--int8 also the drop in accuracy of an 8-bit LiteRT export on the validation images.
"""

import argparse
import os
import resource
import tempfile
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras

from benchmarks.protocol_sets import SETS, draw_training, write_table
from tltool.recipe.load import load_recipe
from tltool.workflows.export import export
from tltool.workflows.finetune import finetune

PER_CLASS = 100
PLAIN = (
    "export.enabled=false",
    "evaluate.report=false",
    "evaluate.label_errors=false",
    "evaluate.learning_curve=false",
)


def sources(name: str, seed: int, work: Path) -> tuple[Path, Path | None]:
    """Return the source of images, and that of the test images if it is separate."""
    if name != "flowers128":
        root = Path(os.environ["TLTOOL_TEST_DATA"]) / "hymenoptera"
        return (root, None) if name == "published" else (root / "train", root / "val")
    pool, _ = SETS["flowers128"].write(work, 0)
    classes = {label: sorted(files) for label, files in pool.items()}
    chosen = draw_training(classes, PER_CLASS, seed, 1)
    test = {
        label: [file for file in files if file not in set(chosen[label])]
        for label, files in classes.items()
    }
    table = work / "flowers.csv"
    write_table(table, {"train": chosen, "test": test}, 1)
    return table, None


def cpu_seconds() -> float:
    """Return the processor time of this process and of its children that have ended."""
    usages = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def measure(recipe: str, name: str, seed: int, settings: list[str], *, int8: bool) -> str:
    """Return the row of one run."""
    started = cpu_seconds()
    with tempfile.TemporaryDirectory() as temporary:
        work = Path(temporary)
        data, test = sources(name, seed, work)
        spec = load_recipe(recipe, [f"seed={seed}", *PLAIN, *settings])
        run = finetune(data, test=test, recipe=spec, out=work / "run", tensorboard=False)
        spent, drop = cpu_seconds() - started, "–"
        if int8:
            result = export(run.run, "litert-int8", out=work / "models", max_drop=1.0)
            one = result.comparisons[0]
            drop = f"{100 * (one.drop or 0):.1f} (n = {one.n})"
    metrics = run.metrics
    rate, probe = metrics["accuracy"], metrics["baselines"]["probe"]
    keras.backend.clear_session(free_memory=True)
    return (
        f"| {name} | {recipe} | {seed} | {metrics['n']} | {rate['value']:.3f} ({rate['low']:.3f} "
        f"to {rate['high']:.3f}) | {metrics['log_loss']:.3f} | "
        f"{probe['accuracy']['value'] if probe else float('nan'):.3f} | {spent:.0f} | {drop} |"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--recipes", default="fast,mobile,strong")
    parser.add_argument("--sets", default="published,honest,flowers128")
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--settings", default="")
    parser.add_argument("--int8", action="store_true")
    args = parser.parse_args()
    print(
        "| images | recipe | seed | n | accuracy | log-loss | probe | CPU s | int8 drop, points |"
    )
    print("|---|---|---|---|---|---|---|---|---|", flush=True)
    settings = [setting for setting in args.settings.split(",") if setting]
    for recipe in args.recipes.split(","):
        for name in args.sets.split(","):
            for seed in map(int, args.seeds.split(",")):
                print(measure(recipe, name, seed, settings, int8=args.int8), flush=True)


if __name__ == "__main__":
    main()
