"""The reject option on real images: does a model of ants and bees know that a digit is neither?

python -m benchmarks.refusal [--recipe vgg16] [--seeds 0,1,2]

Reads hymenoptera and flowers128 from TLTOOL_TEST_DATA and takes scikit-learn's digits. A fifth of
hymenoptera's training images set the border; its val images are the test part, on which nothing was
chosen. Beside the score that the model gives stand others, of the same features and probabilities.
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
from tltool.evaluation.metrics.intervals import wilson
from tltool.evaluation.metrics.selective import auroc
from tltool.inference import Classifier, decoder, softmax
from tltool.recipe.load import load_recipe
from tltool.training.precision import choose_precision
from tltool.workflows.finetune import finetune
from tltool.workflows.samples import write_digits

OTHERS = 200  # images of each kind of something else
BATCH = 32
WAYS = ("as it is", "nearest neighbour", "Mahalanobis, raw features", "largest probability")


def chosen(folder: Path) -> list[Path]:
    """Return images spread evenly over the folders of a source."""
    paths = sorted(path for path in folder.rglob("*") if path.suffix in (".jpg", ".png"))
    return [paths[at] for at in np.linspace(0, len(paths) - 1, OTHERS).astype(int)]


def measured(recipe: str, seed: int, folder: Path, others: dict[str, Path]) -> dict[str, dict]:
    """Train, and return the scores of test images and others by way and kind, and the accuracy."""
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
    base, _ = answers(artifact, train)
    labels = np.array([artifact.description.class_names.index(path.parent.name) for path in train])
    found: dict[str, dict] = {way: {} for way in WAYS}
    for kind, paths in {"known": test, **{k: chosen(v) for k, v in others.items()}}.items():
        features, probabilities = answers(artifact, paths)
        detector = artifact.calibration.detector
        assert detector is not None
        found["as it is"][kind] = detector.scores(features)
        found["nearest neighbour"][kind] = nearest(unit(base), unit(features))
        found["Mahalanobis, raw features"][kind] = mahalanobis(base, labels, features)
        found["largest probability"][kind] = -probabilities.max(axis=1)
    return {"scores": found, "metrics": dict(result.metrics)}


def answers(artifact: Artifact, paths: list[Path]) -> tuple[np.ndarray, np.ndarray]:
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
    given = parser.parse_args()
    seeds = [int(seed) for seed in given.seeds.split(",")]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_digits(folder / "digits")
        flowers = Path(os.environ["TLTOOL_TEST_DATA"]) / "flowers128"
        others = {"digits": folder / "digits", "flowers": flowers}
        found = [measured(given.recipe, seed, folder, others) for seed in seeds]
    print(f"\nRecipe {given.recipe}, seeds {given.seeds}; n = 153 known, {OTHERS} of each other.\n")
    print("| score | " + " | ".join(f"{kind}: area under the curve (95 % each)" for kind in others))
    print("|---|" + "---|" * len(others))
    for way in WAYS:
        cells = [_areas([one["scores"][way] for one in found], kind) for kind in others]
        print(f"| {way} | {' | '.join(cells)} |")
    for kind in ("known", *others):
        scores = np.concatenate([one["scores"]["as it is"][kind] for one in found])
        refused, n = int((scores > 1).sum()), len(scores)
        low, high = wilson(refused, n)
        print(f"- {kind}: {refused / n:.3f} refused ({low:.3f} to {high:.3f}, {n} answers)")
    for key in ("accuracy", None):
        rates = [one["metrics"]["accuracy"] if key else one["metrics"]["refusal"] for one in found]
        values = [rate["value"] if key else rate["accuracy_of_known"]["value"] for rate in rates]
        told = "all test images" if key else "those that are known"
        print(f"- accuracy on {told}: {', '.join(f'{v:.3f}' for v in values)}", end="")
        print(f" (mean {statistics.fmean(values):.3f})")


def _areas(scores: list[dict], kind: str) -> str:
    areas = [auroc(one["known"], one[kind]) for one in scores]
    return ", ".join(f"{a['value']:.3f} ({a['low']:.3f} to {a['high']:.3f})" for a in areas)


if __name__ == "__main__":
    main()
