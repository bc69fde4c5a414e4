"""The summary of a report: how good the model is, and what to do next.

What to do next is sorted by severity: first what makes the metrics or the model invalid (leakage,
conditions that are not met, no better than chance), then what makes single outputs unreliable
(classes never recognised or not above chance, calibration), then what would improve the model
(labels, slices, confusions), then what would make the metrics more certain.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from typing import Any

from tltool.errors import some_of
from tltool.evaluation.report.headline import (
    HALF_WIDTH,
    describe_needed_images,
    half_width,
    headline_rate,
)
from tltool.evaluation.report.refit_text import REFITTED
from tltool.evaluation.report.text_tables import describe_sample, percent

_MISCALIBRATED = 0.05
_CONFUSIONS = 3  # fewer are not mentioned
_NEVER = 3  # images of a class of which none is recognised; of fewer this says little
_SIGNIFICANT = 0.05


def summary_sentence(metrics: Mapping[str, Any]) -> str:
    """Return one sentence: top-1 accuracy with interval and n, and the baselines."""
    rate, baselines = metrics["accuracy"], metrics["baselines"]
    majority, probe = baselines["majority"], baselines["probe"]
    rough = "rough " if rate.get("rough") else ""
    groups = describe_sample(metrics).partition(" images ")[2]
    sentence = (
        f"Top-1 accuracy {percent(rate['value'])} on {metrics['n']:,} {_split_name(metrics)}images "
        f"({f'{groups}; ' if groups else ''}{rough}95 % confidence interval "
        f"{percent(rate['low'])} to {percent(rate['high'])}); baselines: "
        f"{percent(majority['accuracy']['value'])} by always predicting {majority['class']}"
    )
    if probe is not None:
        sentence += f", {percent(probe['accuracy']['value'])} by the linear probe"
    return f"{sentence}."


def describe_cross_validation(metrics: Mapping[str, Any]) -> list[str]:
    """Return sentences on the cross-validated accuracy and what it is of; none without it."""
    estimate = metrics.get("cross_validation")
    if not estimate:
        return []
    rate, folds = estimate["accuracy"], estimate["folds"]
    alone = metrics.get("best", {}).get("phase") == "probe"
    model = (
        "The model below is such a probe."
        if alone
        else "It is an estimate of the probe, not of the fine-tuned model below."
    )
    sentences = [
        f"Cross-validated accuracy of a {estimate['what']}: {percent(rate['value'])} on all "
        f"{estimate['n']:,} labelled images (95 % confidence interval {percent(rate['low'])} to "
        f"{percent(rate['high'])}).",
        f"With only {metrics['n']:,} validation images this is the more certain figure: each image "
        f"is predicted by a probe that was fitted on the other {folds - 1} of {folds} folds. "
        f"{model}",
    ]
    if half_width(rate) > HALF_WIDTH:
        sentences.append(f"{describe_needed_images(metrics).capitalize()}.")
    return sentences


def describe_choice(metrics: Mapping[str, Any]) -> str:
    """Return what the validation images determined, empty if the metrics are of other images.

    A linear probe has no epochs.
    """
    if metrics["split"] != "validation":
        return ""
    has_epochs = metrics.get("best", {}).get("phase") != "probe"
    chosen = ["the best epoch"] if has_epochs else []
    if metrics.get("log_loss") != metrics.get("log_loss_uncalibrated"):
        chosen.append("the temperature")
    if metrics.get("selective", {}).get("coverage") is not None:
        chosen.append("the OOD threshold")
    if not chosen:
        return ""
    listed = " and ".join(filter(None, [", ".join(chosen[:-1]), chosen[-1]]))
    end = ", so the metrics are slightly optimistic" if has_epochs else ""
    return f"the validation images also determined {listed}{end}"


def next_steps(metrics: Mapping[str, Any], *, most: int = 3) -> list[str]:
    """Return what to do next, the most severe finding first; at least one sentence.

    Args:
        metrics: the document of metrics.json.
        most: sentences at most.
    """
    return list(itertools.islice(_steps(metrics), most))


def warnings_of(metrics: Mapping[str, Any]) -> list[str]:
    """Return why the model should not be used, for the screen; empty if nothing speaks against it.

    Conditions that are not met have their own lines there.

    Args:
        metrics: the document of metrics.json.
    """
    return list(_about_baseline(metrics))


def describe_train_overlap(metrics: Mapping[str, Any]) -> str | None:
    """Return a sentence on data leakage: images that the model was trained or validated on.

    None if there are no such images.
    """
    overlap, split = metrics.get("train_overlap"), metrics["split"]
    texts = {"train": "the training set", "validation": "the validation set"}
    if split in ("validation", "test"):
        texts = {name: f"{text} (as copies)" for name, text in texts.items() if name != split}
    parts = [
        f"{overlap[name]:,} of these images are in {text}"
        for name, text in texts.items()
        if overlap and overlap[name]
    ]
    if split == "validation" and (metrics.get("refit") or {}).get("evaluated") == REFITTED:
        parts.append("the model was refitted on all of these validation images")
    if not parts:
        return None
    return (
        f"Data leakage: {' and '.join(parts)}. The metrics are optimistic; evaluate on images that "
        "were not used in training."
    )


def _steps(metrics: Mapping[str, Any]) -> Iterator[str]:
    """Yield all findings, in the order of their severity."""
    for findings in (
        _about_leakage,
        _about_conditions,
        _about_baseline,
        _about_classes,
        _about_calibration,
        _about_labels,
        _about_slices,
        _about_confusions,
        _about_number_of_images,
        _about_test_set,
    ):
        yield from findings(metrics)


def _about_leakage(metrics: Mapping[str, Any]) -> Iterator[str]:
    overlap = describe_train_overlap(metrics)
    if overlap:
        yield overlap


def _about_conditions(metrics: Mapping[str, Any]) -> Iterator[str]:
    failed = [_describe_failure(row) for row in metrics["asserts"] if not row["passed"]]
    if failed:
        yield f"Do not use this model yet: {', '.join(failed)}."


def _about_baseline(metrics: Mapping[str, Any]) -> Iterator[str]:
    """Compare the model with always predicting the majority class, by McNemar's exact test."""
    name = metrics["baselines"]["majority"]["class"]
    others = [row for row in metrics["per_class"] if row["name"] != name]
    majority = next(row for row in metrics["per_class"] if row["name"] == name)
    better = sum(row["correct"] for row in others)
    worse = majority["support"] - majority["correct"]
    if better <= worse:
        yield (
            f"Do not use this model: always predicting {name} is correct as often. Check the "
            "labels and the images."
        )
        return
    p_value = _sign_test(better, worse)
    if p_value >= _SIGNIFICANT and not _estimate_is_above(metrics):
        yield (
            f"Do not use this model yet: with {metrics['n']:,} images, its accuracy is not "
            f"significantly above that of always predicting {name} (McNemar's exact test, p = "
            f"{p_value:.2f})."
        )


def _sign_test(first: int, second: int) -> float:
    from scipy.stats import binomtest

    return float(binomtest(first, first + second).pvalue)


def _estimate_is_above(metrics: Mapping[str, Any]) -> bool:
    """Return whether the cross-validated accuracy, of more images, is above the baseline."""
    majority = metrics["baselines"]["majority"]["accuracy"]["value"]
    return bool(metrics.get("cross_validation")) and headline_rate(metrics)["low"] > majority


def _about_classes(metrics: Mapping[str, Any]) -> Iterator[str]:
    unclear, rows = metrics["not_above_chance"], metrics["per_class"]
    missed = {row["name"] for row in rows if row["support"] >= _NEVER and not row["correct"]}
    never = [name for name in unclear if name in missed]
    if never:
        yield (
            f"No image of {some_of(never, 5)} is recognised: check the labels of these images, and "
            "add training images."
        )
    others = [name for name in unclear if name not in never]
    if others:
        few = [name for name in metrics["needs_more_images"] if name not in never] or others
        yield (
            f"Collect more images of {some_of(few, 5)}: with so few, recall of "
            f"{some_of(others, 5)} is not significantly above chance."
        )


def _about_calibration(metrics: Mapping[str, Any]) -> Iterator[str]:
    if metrics["ece"] > _MISCALIBRATED and metrics["ece_raw"] > metrics["ece_by_chance"]:
        yield (
            "Do not read confidences as probabilities: the calibration error is "
            f"{metrics['ece']:.3f} above what chance explains."
        )


def _about_labels(metrics: Mapping[str, Any]) -> Iterator[str]:
    """Advise on labels only if there are more issues than chance gives."""
    found = metrics.get("label_errors")
    if found and found.get("above_chance"):
        yield (
            f"Check the {found['issues']:,} labels that may be wrong, listed below and in "
            f"label_errors.csv: {found['by_chance']['mean']:,.0f} are expected if every label were "
            "right. Correcting labels is the cheapest improvement."
        )


def _about_slices(metrics: Mapping[str, Any]) -> Iterator[str]:
    worse = [row for row in metrics["slices"] if row["worse"]]
    if worse:
        row = min(worse, key=lambda row: row["accuracy"]["value"])
        yield (
            f"Add training images with {row['by']} {row['value']}: the accuracy on those "
            f"{row['n']:,} images is only {percent(row['accuracy']['value'])}."
        )


def _about_confusions(metrics: Mapping[str, Any]) -> Iterator[str]:
    most = next(iter(metrics["confusions"]), None)
    if most and most["n"] >= _CONFUSIONS:
        yield (
            f"Look at the {most['n']:,} images of {most['true']} predicted as {most['predicted']} "
            "below: correct wrong labels, then add training images like the others."
        )


def _about_number_of_images(metrics: Mapping[str, Any]) -> Iterator[str]:
    if half_width(headline_rate(metrics)) > HALF_WIDTH:
        action = "Label" if metrics.get("cross_validation") else "Evaluate on"
        yield f"{action} more images: {describe_needed_images(metrics)}."


def _about_test_set(metrics: Mapping[str, Any]) -> Iterator[str]:
    choice = describe_choice(metrics)
    if choice:
        yield f"Hold out a test set (--set data.test_fraction=0.2 or --test FOLDER): {choice}."
    yield "Test the model on images from its future use: these images resemble its training data."


def _split_name(metrics: Mapping[str, Any]) -> str:
    name = {"train": "training"}.get(metrics["split"], metrics["split"])
    return f"{name} " if name else ""


def _describe_failure(row: Mapping[str, Any]) -> str:
    text = f"{row['assert']} is not met"
    if row.get("strict") and row["interval"]:
        low, high = row["interval"]
        return f"{text} with --strict (95 % interval {low:.3f} to {high:.3f})"
    return text
