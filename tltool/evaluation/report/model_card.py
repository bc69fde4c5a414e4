"""The model card: intended use, training data, limitations and licences."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from tltool.errors import some_of
from tltool.evaluation.report.advice import describe_choice, describe_train_overlap
from tltool.evaluation.report.content import Report
from tltool.evaluation.report.text_tables import describe_sample, percent

_NAMED = 20  # classes in a sentence


def model_card(report: Report) -> list[tuple[str, list[str]]]:
    """Return headings with their sentences.

    The form is that of Mitchell et al., "Model cards for model reporting", 2019.
    """
    names = report.predictions.images.class_names
    parts = [
        (
            "Intended use",
            [
                f"Classify images as one of {len(names)} classes: {some_of(names, _NAMED)}.",
                "Images should resemble the training data described below. The model is not "
                "intended to judge people, or for decisions where an error does harm without human "
                "review.",
            ],
        ),
        ("Data", list(_data(report))),
        ("Limitations", list(_limitations(report.metrics))),
    ]
    manifest = report.manifest if report.training is None else report.training.manifest
    if manifest is not None:
        parts.append(("Model and licences", list(_licences(manifest))))
    return parts


def _data(report: Report) -> Iterator[str]:
    training = report.training
    if training is not None:
        for split, counts in training.counts.items():
            each = ", ".join(f"{name}: {count:,}" for name, count in list(counts.items())[:12])
            more = f" and {len(counts) - 12} more classes" if len(counts) > 12 else ""
            yield f"{split}: {sum(counts.values()):,} images ({each}{more})."
        yield from _augmentation(training.manifest)
        digest = training.manifest.get("data_digest")
        if digest:
            yield f"SHA-256 of images and labels: {digest}."
    else:
        yield f"Evaluated on {report.metrics['n']:,} images: {report.metrics['evaluated_on']}."
    ood = report.metrics["selective"].get("ood")
    if ood:
        yield f"Out-of-distribution images, of none of the classes: {ood['n_ood']:,}."
    yield "tltool does not know the licence of the images or the consent of the people on them."


def _augmentation(manifest: Mapping[str, Any]) -> Iterator[str]:
    policy, changes = (manifest.get("augmentation", {}).get(key) for key in ("policy", "changes"))
    if changes:
        named = "" if policy == "none" else f" (policy {policy})"
        yield f"Data augmentation{named}: {changes}."
    elif policy == "none":
        yield "No data augmentation."


def _limitations(metrics: Mapping[str, Any]) -> Iterator[str]:
    rate = metrics["accuracy"]
    yield (
        f"On images like these the accuracy is between {percent(rate['low'])} and "
        f"{percent(rate['high'])} (95 % confidence interval); on other images it can be far lower."
    )
    sample = describe_sample(metrics)
    if sample != f"{metrics['n']:,}":
        yield (
            f"The sample is {sample}: images of one group, such as a patient, a film or near "
            "duplicates, are not independent. All intervals take this into account."
        )
    overlap = describe_train_overlap(metrics)
    if overlap:
        yield overlap
    elif "train_overlap" in metrics and metrics["train_overlap"] is None:
        yield "It is unknown whether the model was trained on some of these images."
    choice = describe_choice(metrics)
    if choice:
        yield f"{choice[0].upper()}{choice[1:]}."
    if metrics["absent_classes"]:
        absent = some_of(metrics["absent_classes"], _NAMED)
        yield f"Not evaluated, as there are no images: {absent}."
    if metrics["not_above_chance"]:
        unclear = some_of(metrics["not_above_chance"], _NAMED)
        yield f"Recall not significantly above chance, as there are too few images: {unclear}."
    for row in metrics["slices"]:
        if row["worse"]:
            yield f"Significantly lower accuracy for {row['by']} {row['value']}."


def _licences(manifest: Mapping[str, Any]) -> Iterator[str]:
    backbone, weights = manifest.get("backbone", {}), manifest.get("weights", {})
    yield f"Backbone {backbone.get('name', '?')}, weights from {weights.get('source', '?')}."
    licence = weights.get("licence")
    if licence:
        yield f"Licence of the pretrained weights: {licence}."
    versions = manifest.get("versions", {})
    if versions:
        yield f"Trained with {', '.join(f'{name} {number}' for name, number in versions.items())}."
