"""Whether training gained anything over the linear probe."""

import numpy as np

from tltool.evaluation.metrics.probe_comparison import compare_with_probe
from tltool.evaluation.report.text_tables import describe_probe_comparison


def probabilities(correct, confidence):
    """Two classes; class 0 is true for all images."""
    right = np.where(correct, confidence, 1 - confidence)
    return np.stack([right, 1 - right], axis=1)


def compared(probe, model, n=400, confidence=(0.8, 0.8), split="test", groups=None):
    """Accuracies of probe and model; the model errs where the probe does, as far as it errs."""
    order = np.arange(n)
    rows = [
        probabilities(order >= round((1 - share) * n), sure)
        for share, sure in zip((probe, model), confidence, strict=True)
    ]
    document = compare_with_probe(rows[0], rows[1], np.zeros(n, int), groups)
    return document, describe_probe_comparison({"probe_comparison": document, "split": split})


def test_a_better_model_is_said_to_be_better_with_the_paired_interval() -> None:
    document, text = compared(0.8, 0.9)
    paired = document["accuracy_difference"]
    assert document["accuracy"]["value"] == 0.8
    assert paired["difference"] == np.float64(0.1)
    assert 0.05 < paired["low"] < 0.1 < paired["high"] < 0.15
    assert text.startswith("The model is better than the linear probe (+10.0 points, 95 %")
    assert "selected" not in text
    assert "selected the best epoch" in compared(0.8, 0.9, split="validation")[1]


def test_a_model_that_is_no_better_recommends_the_quick_recipe() -> None:
    document, text = compared(0.8, 0.805)
    assert not document["accuracy_difference"]["distinguishable"]
    assert text.startswith("No significant difference between the model and the linear probe")
    assert text.endswith("--recipe quick is as good and much faster.")
    few = compared(0.8, 0.8, n=20)[1]
    assert few.startswith("No significant") and few.endswith("--recipe quick is much faster.")
    assert compared(0.9, 0.8)[1].startswith("The model is worse than the linear probe (-10.0")


def test_equal_accuracy_with_better_probabilities_is_no_tie() -> None:
    document, text = compared(0.8, 0.8, confidence=(0.6, 0.8))
    loss = document["log_loss_difference"]
    expected = -(0.8 * np.log(0.8 / 0.6) + 0.2 * np.log(0.2 / 0.4))
    assert np.isclose(loss["value"], expected)
    assert loss["low"] < loss["value"] < loss["high"] < 0
    assert "probabilities are better" in text


def test_groups_widen_the_interval_of_the_log_loss() -> None:
    single, grouped = (
        compared(0.8, 0.9, groups=groups)[0]["log_loss_difference"]
        for groups in (None, np.arange(400) // 20)
    )
    assert single["value"] == grouped["value"]
    assert grouped["high"] - grouped["low"] > 2 * (single["high"] - single["low"])


def test_the_interval_of_the_log_loss_holds_the_truth() -> None:
    random, held, truth = np.random.default_rng(0), 0, None
    pool = random.normal(1, 1.5, (100_000, 2))  # logits of the true class: probe, model
    losses = np.log1p(np.exp(-pool))
    truth = (losses[:, 1] - losses[:, 0]).mean()
    for _ in range(200):
        rows = 1 / (1 + np.exp(-random.choice(pool, 60)))
        probe, model = (np.stack([rows[:, k], 1 - rows[:, k]], axis=1) for k in (0, 1))
        document = compare_with_probe(probe, model, np.zeros(60, int))
        loss = document["log_loss_difference"]
        held += loss["low"] <= truth <= loss["high"]
    assert held >= 180  # of 200; with a coverage of 0.95 fewer occur in 0.3 % of runs


def test_without_a_comparison_nothing_is_said() -> None:
    assert describe_probe_comparison({"split": "test"}) is None
    assert describe_probe_comparison({"probe_comparison": None, "split": "test"}) is None
