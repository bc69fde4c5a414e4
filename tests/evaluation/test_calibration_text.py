"""What the report says about calibration, selective prediction and the OOD threshold."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tltool.evaluation.calibration.ood_threshold import threshold_for_coverage
from tltool.evaluation.metrics.classification import compute_metrics
from tltool.evaluation.metrics.selective_prediction import selective_metrics
from tltool.evaluation.report.calibration_text import describe_calibration, describe_selective


def metrics_of(probabilities: np.ndarray) -> dict[str, Any]:
    """Return metrics of images of class 0, as the report takes them."""
    labels = np.zeros(len(probabilities), np.int64)
    metrics = compute_metrics(probabilities, labels, ["a", "b"], uncalibrated=probabilities)
    return {**metrics, "split": "test"}


@pytest.mark.parametrize(("wrong", "said"), [(0, None), (1, "1 image is"), (3, "3 images is")])
def test_clipped_log_losses_are_counted_and_said(wrong: int, said: str | None) -> None:
    probabilities = np.tile(np.array([[0.8, 0.2]], np.float32), (20, 1))
    probabilities[:wrong] = [0, 1]
    metrics = metrics_of(probabilities)
    assert metrics["log_loss_clipped"] == wrong
    text = describe_calibration(metrics)
    assert ("clipped at 15.9 nats" in text) == (wrong > 0)
    assert said is None or f"The log-loss of {said} clipped" in text


def test_the_range_of_the_ood_threshold_is_said():
    probabilities = np.tile(np.array([[0.8, 0.2]], np.float32), (20, 1))
    scores = np.linspace(0.1, 1.05, 20, dtype=np.float32)
    labels = np.zeros(20, np.int64)
    threshold = threshold_for_coverage(np.arange(49.0), 0.95)
    selective = {**selective_metrics(probabilities, labels, scores), **threshold.to_json()}
    text = describe_selective({"selective": selective, "split": "test"})
    assert "95.0 % of these images are below the OOD threshold" in text
    assert "From the 49 images on which it was set follows that it accepts between 89.1 %" in text
    grouped = threshold_for_coverage(np.arange(49.0), 0.9, groups=np.arange(49) // 7)
    selective |= grouped.to_json()
    text = describe_selective({"selective": selective, "split": "test"})
    assert "From the 49 images, as many as 7 independent ones, on which" in text
