"""Applies corrections of labels to the images that an audit has found usable."""

from __future__ import annotations

from dataclasses import replace

from tltool.data.audit.audit import LABEL_CONFLICT, LEAKAGE, Audit, Issue, content_issues
from tltool.data.corrections.apply import CorrectedItems, Corrections
from tltool.errors import DataError, some_of
from tltool.events import Observer

CORRECTED = "label corrected"
EXCLUDED = "excluded by a correction"


def corrected_audit(audited: Audit, corrections: Corrections, observer: Observer) -> Audit:
    """Return the audit after corrections; the issues name every label and image they change.

    Args:
        audited: of the images with the labels of their source.
        corrections: decisions of people.
        observer: receives warnings about decisions that do not fit, and classes that are empty.

    Raises:
        DataError: a new label is no class of the data, or fewer than two classes are left.
    """
    before = audited.catalog
    corrections.check_classes(before.class_names)
    corrected = corrections.apply(before.columns)
    names = tuple(corrected.items.classes())
    if len(names) < min(2, len(before.class_names)):
        raise DataError(
            f"'{corrections.file}' leaves images of fewer than two classes",
            hint="check its rows with the decisions relabel and exclude",
        )
    for warning in corrected.warnings(corrections.file):
        observer.on_message(warning, level="warning")
    empty = [repr(name) for name in before.class_names if name not in names]
    if empty:
        observer.on_message(
            f"class {some_of(empty)} has no image after the corrections and is left out",
            level="warning",
        )
    catalog = replace(before, items=corrected.items, class_names=names)
    return replace(
        audited, catalog=catalog, issues=_issues(audited, corrected), corrected=corrected
    )


def _issues(audited: Audit, corrected: CorrectedItems) -> tuple[Issue, ...]:
    """Return the issues of the audit with those about copies as they are after corrections."""
    relabelled = (
        Issue(item.path, CORRECTED, f"{item.label} is now {label}", bad=False)
        for item, label in corrected.relabelled
    )
    excluded = (
        Issue(item.path, EXCLUDED, f"was {item.label}", bad=True) for item in corrected.excluded
    )
    others = (one for one in audited.issues if one.kind not in (LABEL_CONFLICT, LEAKAGE))
    return (*others, *relabelled, *excluded, *content_issues(corrected.items))
