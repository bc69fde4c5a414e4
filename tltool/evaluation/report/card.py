"""The model card: what the model is for, what it was made of, and where it ends."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from tltool.evaluation.report.advice import percent, seen_in_training
from tltool.evaluation.report.document import Report


def card(report: Report) -> list[tuple[str, list[str]]]:
    """Return headings with their sentences.

    The form is that of Mitchell et al., "Model cards for model reporting", 2019.
    """
    names = report.evaluated.photos.class_names
    parts = [
        (
            "Intended use",
            [
                f"Name images as one of {len(names)} classes: {_listed(names)}.",
                "Images should be like those described under Data. It was not made to judge "
                "people, nor for decisions where a wrong answer does harm without someone looking.",
            ],
        ),
        ("Data", list(_data(report))),
        ("Limits", list(_limits(report.metrics))),
    ]
    origin = report.origin if report.training is None else report.training.facts
    if origin is not None:
        parts.append(("Model and licences", list(_licences(origin))))
    return parts


def _data(report: Report) -> Iterator[str]:
    training = report.training
    if training is not None:
        for part, counts in training.counts.items():
            each = ", ".join(f"{name}: {count:,}" for name, count in list(counts.items())[:12])
            more = f" and {len(counts) - 12} more classes" if len(counts) > 12 else ""
            yield f"{part}: {sum(counts.values()):,} images ({each}{more})."
        yield from _augmentation(training.facts)
        digest = training.facts.get("data_digest")
        if digest:
            yield f"SHA-256 over contents and labels: {digest}."
    else:
        yield f"Measured on {report.metrics['n']:,} images: {report.metrics['evaluated_on']}."
    other = report.metrics["refusal"].get("other")
    if other:
        yield f"Images of something else, of no class: {other['n_others']:,}."
    yield "The images' own licence and consent are known to whoever collected them, not to tltool."


def _augmentation(facts: Mapping[str, Any]) -> Iterator[str]:
    policy, changes = (facts.get("augmentation", {}).get(key) for key in ("policy", "changes"))
    if changes:
        named = "" if policy == "none" else f" (policy {policy})"
        yield f"Training images were changed at random{named}: {changes}."
    elif policy == "none":
        yield "Training images were not changed."


def _limits(metrics: Mapping[str, Any]) -> Iterator[str]:
    rate = metrics["accuracy"]
    yield (
        f"On images like these between {percent(rate['low'])} and {percent(rate['high'])} are "
        "named right; on others it may be far fewer."
    )
    seen = seen_in_training(metrics)
    if seen:
        yield seen
    elif "trained_on" in metrics and metrics["trained_on"] is None:
        yield "Whether the model was trained on some of these images is not known."
    if metrics["part"] == "validation":
        yield f"The same images chose {_chosen(metrics)}: figures are a little optimistic."
    if metrics["absent_classes"]:
        yield f"Not measured, for lack of images: {_listed(metrics['absent_classes'])}."
    if metrics["not_above_chance"]:
        unclear = _listed(metrics["not_above_chance"])
        yield f"Recall not told apart from chance, for lack of images: {unclear}."
    for row in metrics["slices"]:
        if row["worse"]:
            yield f"Worse than elsewhere: {row['by']} {row['value']}."


def _chosen(metrics: Mapping[str, Any]) -> str:
    """Return what the validation images decided, as far as the figures show it."""
    chosen = ["the best epoch"]
    if metrics["ece"] != metrics["ece_uncalibrated"]:
        chosen.append("the temperature")
    if metrics["refusal"].get("known") is not None:
        chosen.append("the border of what is known")
    return " and ".join(filter(None, [", ".join(chosen[:-1]), chosen[-1]]))


def _licences(facts: Mapping[str, Any]) -> Iterator[str]:
    backbone, weights = facts.get("backbone", {}), facts.get("weights", {})
    yield f"Backbone {backbone.get('name', '?')}, weights from {weights.get('source', '?')}."
    licence = weights.get("licence")
    if licence:
        yield f"Licence of the pretrained weights: {licence}."
    versions = facts.get("versions", {})
    if versions:
        yield f"Made with {', '.join(f'{name} {number}' for name, number in versions.items())}."


def _listed(names: Any, most: int = 20) -> str:
    shown = ", ".join(names[:most])
    return shown if len(names) <= most else f"{shown} and {len(names) - most} more"
