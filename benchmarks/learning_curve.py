"""Does the interval of the predicted gain hold what twice as many images really bring?

python -m benchmarks.learning_curve [--repetitions 200]

For each power law of the error rate and each n, data sets are simulated: the errors of the same
images at four numbers of training images are correlated (a Gaussian copula of correlation 0.6), as
those of nested training sets are.
"""

import argparse
from statistics import NormalDist

import numpy as np

from tltool.evaluation.learning_curve import SHARES, extrapolate

LAWS = {  # final error rate, error rate after the first point, exponent
    "0 + b/m^0.3, 35 %": (0.0, 0.35, 0.3),
    "0 + b/m^0.3, 10 %": (0.0, 0.1, 0.3),
    "5 % + b/m^0.7, 30 %": (0.05, 0.3, 0.7),
    "20 % + b/m^0.5, 50 %": (0.2, 0.5, 0.5),
    "20 % + b/m, 60 %": (0.2, 0.6, 1.0),
    "30 % + b/m^0.5, 31 %": (0.3, 0.31, 0.5),
}
CORRELATION = 0.6
TRAINING = 0.8  # share of the images in the training folds


def coverage(law: tuple[float, float, float], n: int, repetitions: int) -> tuple[float, float]:
    """Return the share of intervals that contain the true gain, and their mean width."""
    floor, first, exponent = law
    images = TRAINING * n * np.array(SHARES)
    scale = (first - floor) * images[0] ** exponent
    rates = floor + scale * images**-exponent
    truth = scale * n**-exponent * (1 - 2**-exponent)
    thresholds = np.array([NormalDist().inv_cdf(rate) for rate in rates])[:, np.newaxis]
    random, held, widths = np.random.default_rng(0), 0, []
    for seed in range(repetitions):
        shared, own = random.normal(size=n), random.normal(size=(len(images), n))
        latent = np.sqrt(CORRELATION) * shared + np.sqrt(1 - CORRELATION) * own
        _, (_, low, high) = extrapolate(images, latent >= thresholds, np.arange(n), seed)
        held += low <= truth <= high
        widths.append(high - low)
    return held / repetitions, float(np.mean(widths))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repetitions", type=int, default=200)
    args = parser.parse_args()
    sizes = (100, 400, 2000)
    print("| error rate after m images, after the first point |", end="")
    print("".join(f" n = {n:,} |" for n in sizes))
    print("|---|" + "---|" * len(sizes))
    for name, law in LAWS.items():
        cells = [coverage(law, n, args.repetitions) for n in sizes]
        text = "".join(f" {held:.3f} (width {100 * width:.1f}) |" for held, width in cells)
        print(f"| {name} |{text}", flush=True)


if __name__ == "__main__":
    main()
