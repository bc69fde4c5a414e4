"""Does fine-tuning earn its cost? The plan was written before the runs.

python -m benchmarks.protocol run [--folder build/protocol] [--sets NAME,NAME] [--draws 10]
                                  [--sizes 20,50,100] [--arms quick,vgg16,usual]
python -m benchmarks.protocol table [--folder build/protocol]

Sets: flowers128 (5 classes, 64 pixels, 1,500 test images), scikit-learn's digits (10 classes, 48
pixels, 1,000 test images), hymenoptera (2 classes, 128 pixels, 153 test images; its photos are a
subset of ImageNet, so VGG16 may have seen them), drawn characters (36 classes, 48 pixels, 1,080
test images) and bursts (four crops of each flower photo, which are one group; 1,200 test images of
300 photos). Training images per class: 20, 50 and 100, as far as a set has them. Ten draws of the
training images; the test images are fixed. Validation images are part of the training images.

Arms: the recipes quick and vgg16, and the usual way in Keras (usual_way.py: frozen VGG16 for 10
epochs, then block 5 for 5 epochs; its last state), run in full.

Measures: differences to quick in accuracy and log-loss on the same images. The interval has two
levels, draws and images (or groups), as crossed random effects, with t of draws - 1 degrees of
freedom. p-values are corrected by Holm over all cells of a measure.

A run that is in the folder is not repeated, so that the program resumes where it was stopped.
"""

import argparse
import csv
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import keras
import numpy as np
from scipy.stats import t

from benchmarks.protocol_sets import SETS, Files, ImageSet, draw_training, write_table
from benchmarks.time_to_accuracy import weights_for_keras
from tltool.evaluation.metrics.paired_tests import holm
from tltool.recipe.load import load_recipe
from tltool.workflows.finetune import finetune

ARMS = ("quick", "vgg16", "usual")
SMALLEST = np.finfo(np.float32).eps  # of a probability, as in metrics.json


def run(folder: Path, names: list[str], sizes: list[int], draws: int, arms: list[str]) -> None:
    """Do what is missing, draw after draw, so that a stopped run has whole draws."""
    for draw in range(draws):
        for name in names:
            one = SETS[name]
            pool, test = one.write(folder / "images" / name, one.test)
            for size in (each for each in one.sizes if each in sizes):
                training = draw_training(pool, size, draw, one.group)
                for arm in arms:
                    result = folder / f"{name}-{size}-{draw}-{arm}.npz"
                    if not result.exists():
                        _measure(result, arm, one, training, test, draw)
                        print(f"{result.stem}: {_summary(result)}", flush=True)


def _measure(
    result: Path, arm: str, one: ImageSet, training: Files, test: Files, draw: int
) -> None:
    """Train one arm, and keep correctness and log-loss of each test image."""
    with tempfile.TemporaryDirectory() as work:
        if arm == "usual":
            rows = _usual_way(Path(work), one, training, test, draw)
        else:
            rows = _tltool(Path(work), arm, one, training, test, draw)
    names = sorted(rows)
    labels = [rows[name][0] for name in names]
    probabilities = np.array([rows[name][1] for name in names])
    true = np.clip(probabilities[np.arange(len(names)), labels], SMALLEST, 1)
    part = result.with_suffix(".part")
    with part.open("wb") as file:
        np.savez_compressed(
            file,
            names=names,
            correct=probabilities.argmax(axis=1) == labels,
            loss=-np.log(true),
            confidence=probabilities.max(axis=1),
        )
    part.rename(result)


Rows = dict[str, tuple[int, list[float]]]
"""Of each test image: number of its class, and probabilities."""


def _tltool(work: Path, arm: str, one: ImageSet, training: Files, test: Files, draw: int) -> Rows:
    table = work / "images.csv"
    write_table(table, {"train": training, "test": test}, one.group)
    settings = [
        f"seed={draw}",
        f"data.image_size={one.size}",
        "export.enabled=false",
        "evaluate.report=false",
        "evaluate.label_errors=false",
        "evaluate.learning_curve=false",
    ]
    finetune(table, recipe=load_recipe(arm, settings), out=work / "run", tensorboard=False)
    keras.backend.clear_session()
    classes = sorted(test)
    with (work / "run" / "predictions.csv").open(encoding="utf-8") as file:
        return {
            Path(row["path"]).name + row["label"]: (
                classes.index(row["label"]),
                [float(row[f"p_{name}"]) for name in classes],
            )
            for row in csv.DictReader(file)
        }


def _usual_way(work: Path, one: ImageSet, training: Files, test: Files, draw: int) -> Rows:
    for part, files in (("train", training), ("test", test)):
        for name, paths in files.items():
            (work / part / name).mkdir(parents=True)
            for path in paths:
                shutil.copy(path, work / part / name)
    weights = weights_for_keras(work)
    program = Path(__file__).with_name("usual_way.py")
    subprocess.run(
        [
            *(sys.executable, program, work / "train", work / "test", "--weights", weights),
            *("--predictions", work / "rows.npz", "--size", str(one.size), "--seed", str(draw)),
        ],
        check=True,
        stdout=subprocess.DEVNULL,
    )
    with np.load(work / "rows.npz") as rows:
        classes = sorted(test)
        return {
            Path(path).name + Path(path).parent.name: (
                classes.index(Path(path).parent.name),
                list(probabilities),
            )
            for path, probabilities in zip(rows["paths"], rows["probabilities"], strict=True)
        }


def _summary(result: Path) -> str:
    with np.load(result) as rows:
        return (
            f"accuracy {rows['correct'].mean():.3f}, log-loss {rows['loss'].mean():.3f}, "
            f"n = {len(rows['loss'])}"
        )


def two_level_interval(differences: np.ndarray) -> tuple[float, float, float, float]:
    """Return mean, bounds of the 95 % interval and p-value of differences [draws, images].

    Draws and images are crossed random effects (Searle, Casella and McCulloch, "Variance
    components", 1992, section 4.5): the variance of the mean is that of the draws and that of the
    images, less the residual that both contain.
    """
    draws, images = differences.shape
    mean = differences.mean()
    by_draw, by_image = differences.mean(axis=1), differences.mean(axis=0)
    residual = differences - by_draw[:, np.newaxis] - by_image + mean
    squares = (residual**2).sum() / ((draws - 1) * (images - 1))
    draw_squares, image_squares = images * by_draw.var(ddof=1), draws * by_image.var(ddof=1)
    variance = max(draw_squares + image_squares - squares, draw_squares, image_squares)
    error = np.sqrt(variance / (draws * images))
    half = t.ppf(0.975, draws - 1) * error
    p_value = 2 * t.sf(abs(mean) / error, draws - 1) if error > 0 else 1.0
    return float(mean), float(mean - half), float(mean + half), float(p_value)


def table(folder: Path) -> None:
    """Print one row per set, training size and arm; an arm needs two draws."""
    cells, tests = [], {"correct": [], "loss": []}
    for name, one in SETS.items():
        for size in one.sizes:
            for arm in ARMS:
                draws = _draws(folder, name, size, arm)
                rows = {key: _matrix(draws, key, one.group) for key in ("correct", "loss")}
                against = {
                    key: _against_quick(folder, name, size, arm, draws, key, one.group)
                    for key in rows
                }
                cells.append((name, size, arm, len(draws), rows, against))
                for key, value in against.items():
                    if value is not None:
                        tests[key].append((len(cells) - 1, value[3]))
    adjusted = {
        key: dict(zip([at for at, _ in values], holm([p for _, p in values]), strict=True))
        for key, values in tests.items()
    }
    print("| set | per class | arm | draws | accuracy | to quick, points | log-loss | to quick |")
    print("|---|---|---|---|---|---|---|---|")
    for at, (name, size, arm, count, rows, against) in enumerate(cells):
        if not count:
            print(f"| {name} | {size} | {arm} | 0 | – | – | – | – |")
            continue
        accuracy = _difference(against["correct"], adjusted["correct"].get(at), 100, 1)
        loss = _difference(against["loss"], adjusted["loss"].get(at), 1, 3)
        print(
            f"| {name} | {size} | {arm} | {count} | {rows['correct'].mean():.3f} | {accuracy} | "
            f"{rows['loss'].mean():.3f} | {loss} |"
        )


def _draws(folder: Path, name: str, size: int, arm: str) -> dict[int, Path]:
    found = folder.glob(f"{name}-{size}-*-{arm}.npz")
    return {int(path.stem.split("-")[2]): path for path in sorted(found)}


def _matrix(draws: dict[int, Path], key: str, group: int) -> np.ndarray:
    """Return values [draws, images], or means of groups of images."""
    rows = []
    for path in draws.values():
        with np.load(path) as stored:
            values = stored[key].astype(float)
            if group > 1:
                owners = [name.rpartition("_")[0] for name in stored["names"].tolist()]
                _, number = np.unique(owners, return_inverse=True)
                values = np.bincount(number, weights=values) / np.bincount(number)
            rows.append(values)
    return np.array(rows)


def _against_quick(
    folder: Path, name: str, size: int, arm: str, draws: dict[int, Path], key: str, group: int
) -> tuple[float, float, float, float] | None:
    quick = _draws(folder, name, size, "quick")
    both = sorted(set(draws) & set(quick))
    if arm == "quick" or len(both) < 2:
        return None
    ours, theirs = (
        _matrix({draw: where[draw] for draw in both}, key, group) for where in (draws, quick)
    )
    return two_level_interval(ours - theirs)


def _difference(
    value: tuple[float, float, float, float] | None, p: float | None, scale: int, digits: int
) -> str:
    if value is None or p is None:
        return "–"
    mean, low, high = (f"{scale * each:+.{digits}f}" for each in value[:3])
    return f"{mean} ({low} to {high}), p {'< 0.001' if p < 0.001 else f'{p:.3f}'}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=("run", "table"))
    parser.add_argument("--folder", type=Path, default=Path("build/protocol"))
    parser.add_argument("--sets", default=",".join(SETS))
    parser.add_argument("--sizes", default="20,48,50,100")
    parser.add_argument("--draws", type=int, default=10)
    parser.add_argument("--arms", default=",".join(ARMS))
    args = parser.parse_args()
    args.folder.mkdir(parents=True, exist_ok=True)
    if args.what == "run":
        names = [name for name in SETS if name in args.sets.split(",")]
        sizes = [int(size) for size in args.sizes.split(",")]
        run(args.folder, names, sizes, args.draws, args.arms.split(","))
    table(args.folder)


if __name__ == "__main__":
    main()
