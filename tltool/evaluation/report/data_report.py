"""Writes ``data_report.html``: the findings of a data check, with thumbnails of the images.

The page is a single file without external resources.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageOps

from tltool.data.checks.check_result import BAD_KINDS, CheckResult, summary
from tltool.data.checks.findings import Finding
from tltool.data.splits.split import shown_path
from tltool.evaluation.report.render import page_template
from tltool.evaluation.report.thumbnails import data_uri, thumbnail

MARK = "tltool-data-check"
"""Name of the page's meta element with the hash of its source."""
_THUMBNAIL = 168  # pixels
_SHOWN_PER_KIND = 24
_SHOWN_PER_CLUSTER = 6
_SHOWN_BAD = 100
_SHOWN_CLASSES = 200  # half of them the largest, half the smallest
_CLUSTER_KINDS = ("label conflict", "data leakage", "exact duplicate", "near duplicate")
_RESIZE_MODES = ("squash", "crop", "pad")
_EXPLANATIONS = {
    "label conflict": "The same image is in more than one class.",
    "data leakage": "The same image is in training and in evaluation data: the metrics are too"
    " optimistic.",
    "exact duplicate": "Files with the same bytes.",
    "near duplicate": "Resized, recompressed, brightened, slightly cropped or rotated copies.",
}


def write_data_report(path: Path, result: CheckResult, *, mark: str) -> None:
    """Write the page.

    Args:
        path: the HTML file.
        result: of the check.
        mark: hash of the source, by which a report of the same source is recognised.
    """
    page = page_template("data_report.html.j2")
    content = _content(result, result.root) | {"mark_name": MARK, "mark": mark}
    path.write_text(page.render(content), "utf-8", errors="backslashreplace")


def _content(result: CheckResult, root: Path) -> dict[str, Any]:
    kinds = list(dict.fromkeys(finding.kind for finding in result.findings))
    grouped = {kind: [f for f in result.findings if f.kind == kind] for kind in kinds}
    labels = _labels(result, grouped)
    return {
        "result": result,
        "lines": summary(result),
        "serious": result.count("serious"),
        "warnings": result.count("warning"),
        "clusters": [
            _clusters(kind, grouped[kind], labels, root)
            for kind in _CLUSTER_KINDS
            if kind in grouped
        ],
        "files": [
            _files(kind, findings, labels, root)
            for kind, findings in grouped.items()
            if kind not in (*_CLUSTER_KINDS, *BAD_KINDS) and findings[0].path is not None
        ],
        "unusable": _unusable([f for f in result.findings if f.kind in BAD_KINDS], root),
        "general": _general(result.findings),
        "classes": _classes(result),
        "shapes": list(_shapes(result)),
        "modes": _RESIZE_MODES,
    }


Labels = Mapping[Path, tuple[str, str | None]]


def _labels(result: CheckResult, grouped: Mapping[str, Sequence[Finding]]) -> Labels:
    """Return class and split of the images of the findings that are shown."""
    findings = [finding for each in grouped.values() for finding in each[:_SHOWN_PER_KIND]]
    shown = {
        path
        for finding in findings
        for path in (finding.path, *finding.related[:_SHOWN_PER_CLUSTER])
    }
    return {
        item.path: (item.label, item.given_split)
        for item in chain(result.items, result.ood_images)
        if item.path in shown
    }


def _clusters(kind: str, findings: Sequence[Finding], labels: Labels, root: Path) -> dict[str, Any]:
    """Return a section with clusters of duplicates, each a row of thumbnails."""
    shown = findings[:_SHOWN_PER_KIND]
    clusters = []
    for finding in shown:
        paths = [path for path in (finding.path, *finding.related) if path is not None]
        thumbnails = [_thumbnail(path, labels, root) for path in paths[:_SHOWN_PER_CLUSTER]]
        clusters.append({"thumbnails": thumbnails, "more": len(paths) - len(thumbnails)})
    return {
        "kind": kind,
        "severity": findings[0].severity,
        "count": len(findings),
        "more": len(findings) - len(shown),
        "explanation": _EXPLANATIONS[kind],
        "suggestion": findings[0].suggestion,
        "clusters": clusters,
    }


def _files(kind: str, findings: Sequence[Finding], labels: Labels, root: Path) -> dict[str, Any]:
    """Return a section with single files."""
    shown = findings[:_SHOWN_PER_KIND]
    return {
        "kind": kind,
        "severity": findings[0].severity,
        "count": len(findings),
        "more": len(findings) - len(shown),
        "suggestion": findings[0].suggestion,
        "rows": [
            {**_thumbnail(each.path, labels, root), "detail": each.detail}
            for each in shown
            if each.path is not None
        ],
    }


def _general(findings: Sequence[Finding]) -> dict[str, Any]:
    """Return the findings about the whole data set, some of each kind."""
    general = [finding for finding in findings if finding.path is None]
    shown: dict[str, list[Finding]] = {}
    for finding in general:
        shown.setdefault(finding.kind, []).append(finding)
    rows = [finding for each in shown.values() for finding in each[:_SHOWN_PER_KIND]]
    return {"rows": rows, "more": len(general) - len(rows)}


def _unusable(findings: Sequence[Finding], root: Path) -> dict[str, Any]:
    """Return the table of the unusable files."""
    shown = findings[:_SHOWN_BAD]
    rows = [{"name": shown_path(f.path, root), "finding": f} for f in shown if f.path is not None]
    return {"count": len(findings), "more": len(findings) - len(shown), "rows": rows}


def _thumbnail(path: Path, labels: Labels, root: Path) -> dict[str, Any]:
    label, split = labels.get(path, (None, None))
    image = thumbnail(path, 2 * _THUMBNAIL) if label is not None else None
    return {
        "name": shown_path(path, root),
        "label": label,
        "detail": "",
        "split": split,
        "source": None if image is None else data_uri(_fit(image)),
    }


def _classes(result: CheckResult) -> list[dict[str, Any]]:
    if result.balance is None:
        return []
    most = max(result.balance.counts.values())
    counts = list(result.balance.counts.items())
    if len(counts) > _SHOWN_CLASSES:
        counts = counts[: _SHOWN_CLASSES // 2] + counts[-_SHOWN_CLASSES // 2 :]
    return [
        {
            "name": name,
            "count": count,
            "different": result.balance.different[name],
            "share": 100 * count / most,
        }
        for name, count in counts
    ]


def _shapes(result: CheckResult) -> Iterator[dict[str, Any]]:
    """Yield a tall, a median and a wide image with each resize mode."""
    items = result.items
    aspects = np.array([item.width / max(item.height, 1) for item in items])
    ordered = np.argsort(aspects, kind="stable").tolist()
    positions = (min(int(share * len(ordered)), len(ordered) - 1) for share in (0.05, 0.5, 0.95))
    for number in dict.fromkeys(ordered[position] for position in positions if position >= 0):
        item = items[number]
        image = thumbnail(item.path, 2 * _THUMBNAIL)
        if image is not None:
            yield {
                "size": f"{item.width} × {item.height}",
                "sources": [data_uri(_resized(image, mode)) for mode in _RESIZE_MODES],
            }


def _fit(image: Image.Image) -> Image.Image:
    small = image.copy()
    small.thumbnail((_THUMBNAIL, _THUMBNAIL))
    return small


def _resized(image: Image.Image, mode: str) -> Image.Image:
    size = (_THUMBNAIL * 2 // 3, _THUMBNAIL * 2 // 3)
    if mode == "squash":
        return image.resize(size)
    return ImageOps.fit(image, size) if mode == "crop" else ImageOps.pad(image, size)
