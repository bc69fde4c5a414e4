"""The probe on real features: some channels of VGG16 are almost always zero for small digits."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tltool.data.audit.audit import audit
from tltool.data.sources.open import read_source
from tltool.events import SilentObserver
from tltool.models.backbone_registry import get_backbone
from tltool.recipe.train_section import ProbeSection
from tltool.training.probe import fit_probe
from tltool.training.validation import loss_and_accuracy
from tltool.workflows.dataset.embeddings import EmbeddingExtractor
from tltool.workflows.samples import write_digits

pytestmark = [pytest.mark.pretrained, pytest.mark.slow]


@pytest.fixture(scope="module", name="digits")
def _digits(
    vgg16_weights: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[np.ndarray, np.ndarray]:
    """Return pooled features float32 [1797, 512] of scikit-learn's digits, and their labels."""
    folder, observer = tmp_path_factory.mktemp("digits"), SilentObserver()
    write_digits(folder)
    listing = read_source(folder, observer=observer)
    how = {"on_bad": "fail", "max_bad_fraction": 0.0, "max_pixels": 10**6, "observer": observer}
    catalog = audit(listing, **how).catalog
    extractor = EmbeddingExtractor(
        get_backbone("vgg16"),
        image_size=48,
        resize="crop",
        weights=vgg16_weights,
        observer=observer,
    )
    return extractor.features(extractor.source(catalog)), catalog.labels()


# `most` was exceeded by 8 of 20 splits of 200 before near-dead channels were kept small
@pytest.mark.parametrize(
    ("n", "splits", "most", "median"),
    [(200, 15, 0.6, 0.45), (500, 4, 0.4, 0.3), (1081, 2, 0.3, 0.2)],
)
def test_no_split_of_the_digits_has_a_huge_log_loss(digits, n, splits, most, median):
    features, labels = digits
    settings = ProbeSection()
    losses = []
    for split in range(splits):
        order = np.random.default_rng(split).permutation(len(labels))
        train, test = order[:n], order[n:]
        probe = fit_probe(
            features[train],
            labels[train],
            classes=10,
            c_values=list(settings.c_values),
            folds=settings.folds,
            weights=None,
            seed=split,
        )
        reached = loss_and_accuracy(probe.logits(features[test]), labels[test])
        losses.append(reached["val_loss"])
    assert max(losses) < most
    assert np.median(losses) < median
