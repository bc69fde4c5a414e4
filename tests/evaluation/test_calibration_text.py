"""What the report says about calibration, selective prediction and the OOD threshold."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tltool.evaluation.metrics.classification import compute_metrics
from tltool.evaluation.report.calibration_text import describe_calibration


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
