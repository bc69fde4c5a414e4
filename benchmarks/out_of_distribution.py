"""Out-of-distribution detection on real images: digits and flowers for a model of ants and bees.

python -m benchmarks.out_of_distribution [--recipe vgg16] [--seeds 0,1,2]

Reads hymenoptera and flowers128 from TLTOOL_TEST_DATA, and scikit-learn's digits. A fifth of the
training images of hymenoptera is the validation set and sets the OOD threshold; its val images are
the test set. The model's OOD score is compared with other scores of the same features and
probabilities.
"""

import argparse
import os
import statistics
import tempfile
from pathlib import Path

import numpy as np

from tltool.artifact import Artifact, load_artifact
from tltool.data.decoding.transcode import read_image_bytes
from tltool.data.splits.split import read_split
from tltool.evaluation.metrics.confidence_intervals import wilson_interval
from tltool.evaluation.metrics.ood_detection import auroc
from tltool.inference import Classifier, decoder, softmax
from tltool.recipe.load import load_recipe
from tltool.training.precision import choose_precision
from tltool.workflows.finetune import finetune
from tltool.workflows.samples import write_digits

OOD_IMAGES = 200  # of each OOD data set
BATCH = 32
SCORES = ("tltool", "nearest neighbour", "Mahalanobis, raw features", "maximum softmax probability")


def sample(folder: Path) -> list[Path]:
    """Return images spread evenly over the folders of a data set."""
    paths = sorted(path for path in folder.rglob("*") if path.suffix in (".jpg", ".png"))
    return [paths[at] for at in np.linspace(0, len(paths) - 1, OOD_IMAGES).astype(int)]


def train_and_score(recipe: str, seed: int, folder: Path, ood: dict[str, Path]) -> dict[str, dict]:
    """Train; return the scores of test and OOD images by score and data set, and the metrics."""
    root = Path(os.environ["TLTOOL_TEST_DATA"]) / "hymenoptera"
    settings = [f"seed={seed}", "export.enabled=false"]
    run = folder / str(seed)
    result = finetune(
        root / "train", test=root / "val", recipe=load_recipe(recipe, settings), out=run
    )
    artifact = load_artifact(run)
    rows = read_split(run / "split.csv")
    train = [root / "train" / row.path for row in rows if row.split == "train"]
    test = sorted(path for path in (root / "val").rglob("*.jp*g"))
    base, _ = features_and_probabilities(artifact, train)
    labels = np.array([artifact.description.class_names.index(path.parent.name) for path in train])
    scores: dict[str, dict] = {name: {} for name in SCORES}
    for kind, paths in {"test": test, **{k: sample(v) for k, v in ood.items()}}.items():
        features, probabilities = features_and_probabilities(artifact, paths)
        detector = artifact.calibration.detector
        assert detector is not None
        scores["tltool"][kind] = detector.scores(features)
        scores["nearest neighbour"][kind] = nearest(unit(base), unit(features))
        scores["Mahalanobis, raw features"][kind] = mahalanobis(base, labels, features)
        scores["maximum softmax probability"][kind] = -probabilities.max(axis=1)
    return {"scores": scores, "metrics": dict(result.metrics)}


def features_and_probabilities(
    artifact: Artifact, paths: list[Path]
) -> tuple[np.ndarray, np.ndarray]:
    """Return features [N, D] and probabilities [N, C]."""
    classifier = Classifier(artifact.network, precision=choose_precision("auto", gpu=False))
    parts = []
    for start in range(0, len(paths), BATCH):
        contents = [read_image_bytes(path) for path in paths[start : start + BATCH]]
        images, _ = decoder(artifact.description.decode)(contents)
        parts.append(classifier.pooled(images))
    features = np.concatenate(parts)
    logits = classifier.pooled_to_logits(features)
    return features, softmax(logits, artifact.description.temperature)


def unit(features: np.ndarray) -> np.ndarray:
    return features / np.linalg.norm(features, axis=1, keepdims=True)


def nearest(base: np.ndarray, features: np.ndarray) -> np.ndarray:
    """Return the distance to the nearest training image (Sun et al. 2022, k = 1)."""
    return np.sqrt(np.maximum(2 - 2 * (features @ base.T).max(axis=1), 0))


def mahalanobis(base: np.ndarray, labels: np.ndarray, features: np.ndarray) -> np.ndarray:
    """Return the score of Lee et al. 2018 with a shrunk covariance."""
    from sklearn.covariance import ledoit_wolf

    means = np.stack([base[labels == number].mean(axis=0) for number in np.unique(labels)])
    precision = np.linalg.inv(ledoit_wolf(base - means[labels], assume_centered=True)[0])
    away = features[:, np.newaxis] - means
    return np.einsum("bkd,de,bke->bk", away, precision, away).min(axis=1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--recipe", default="vgg16")
    parser.add_argument("--seeds", default="0,1,2")
    options = parser.parse_args()
    seeds = [int(seed) for seed in options.seeds.split(",")]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_digits(folder / "digits")
        flowers = Path(os.environ["TLTOOL_TEST_DATA"]) / "flowers128"
        ood = {"digits": folder / "digits", "flowers": flowers}
        runs = [train_and_score(options.recipe, seed, folder, ood) for seed in seeds]
    print(
        f"\nRecipe {options.recipe}, seeds {options.seeds}; 153 test images, {OOD_IMAGES} images "
        "of each OOD data set.\n"
    )
    print("| score | " + " | ".join(f"{kind}: AUROC (95 % each)" for kind in ood))
    print("|---|" + "---|" * len(ood))
    for name in SCORES:
        cells = [_aurocs([run["scores"][name] for run in runs], kind) for kind in ood]
        print(f"| {name} | {' | '.join(cells)} |")
    for kind in ("test", *ood):
        scores = np.concatenate([run["scores"]["tltool"][kind] for run in runs])
        detected, n = int((scores > 1).sum()), len(scores)
        low, high = wilson_interval(detected, n)
        print(
            f"- {kind}: {detected / n:.3f} above the threshold ({low:.3f} to {high:.3f}, n = {n})"
        )
    accuracies = {
        "accuracy": [run["metrics"]["accuracy"] for run in runs],
        "accuracy below the OOD threshold": [
            run["metrics"]["selective"]["selective_accuracy"] for run in runs
        ],
    }
    for name, rates in accuracies.items():
        values = [rate["value"] for rate in rates]
        print(f"- {name}: {', '.join(f'{v:.3f}' for v in values)}", end="")
        print(f" (mean {statistics.fmean(values):.3f})")


def _aurocs(scores: list[dict], kind: str) -> str:
    areas = [auroc(one["test"], one[kind]) for one in scores]
    return ", ".join(f"{a['value']:.3f} ({a['low']:.3f} to {a['high']:.3f})" for a in areas)


if __name__ == "__main__":
    main()
