"""``data_report.html``: what a check of the data has found, with the pictures concerned.

It lives with the other reports and not beside the checks, because the room of the data knows
nothing of HTML. The page is one file that needs nothing from elsewhere.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from PIL import Image, ImageOps

from tltool.data.checks.check_result import BAD_KINDS, CheckResult, summary
from tltool.data.checks.findings import Finding
from tltool.data.splits.split import shown_path
from tltool.evaluation.report.render import page_template
from tltool.evaluation.report.thumbnails import data_uri, thumbnail

MARK = "tltool-data-check"
"""Name of the page's meta element with the mark of its source."""
_THUMBNAIL = 168  # pixels
_SHOWN_PER_KIND = 24
_SHOWN_PER_CLUSTER = 6
_SHOWN_BAD = 100
_PICTURE_KINDS = ("label conflict", "leak across splits", "exact duplicate", "near duplicate")
_WAYS = ("squash", "crop", "pad")
_EXPLAINED = {
    "label conflict": "The same picture lies in more than one class. A model cannot learn both.",
    "leak across splits": "The same picture is trained on and measured on: scores come out too"
    " good.",
    "exact duplicate": "Files with the same bytes.",
    "near duplicate": "Resized, recompressed, brighter, slightly cropped or turned copies.",
}


def write_data_report(path: Path, result: CheckResult, *, mark: str) -> None:
    """Write the page.

    Args:
        path: the HTML file.
        result: what was found.
        mark: letters and digits by which the source can be known again.
    """
    page = page_template("data_report.html.j2")
    content = _content(result, result.root) | {"mark_name": MARK, "mark": mark}
    path.write_text(page.render(content), "utf-8", errors="backslashreplace")


def _content(result: CheckResult, root: Path) -> dict[str, Any]:
    kinds = list(dict.fromkeys(finding.kind for finding in result.findings))
    labels = {
        item.path: (item.label, item.given_split) for item in (*result.items, *result.ood_images)
    }
    grouped = {kind: [f for f in result.findings if f.kind == kind] for kind in kinds}
    return {
        "result": result,
        "lines": summary(result),
        "serious": result.count("serious"),
        "warnings": result.count("warning"),
        "pictures": [
            _pictures(kind, grouped[kind], labels, root)
            for kind in _PICTURE_KINDS
            if kind in grouped
        ],
        "files": [
            _files(kind, found, labels, root)
            for kind, found in grouped.items()
            if kind not in (*_PICTURE_KINDS, *BAD_KINDS) and found[0].path is not None
        ],
        "bad": _bad([f for f in result.findings if f.kind in BAD_KINDS], root),
        "general": [finding for finding in result.findings if finding.path is None],
        "classes": _classes(result),
        "shapes": list(_shapes(result)),
        "ways": _WAYS,
    }


Labels = Mapping[Path, tuple[str, str | None]]


def _pictures(kind: str, found: Sequence[Finding], labels: Labels, root: Path) -> dict[str, Any]:
    """Return one section of clusters, each a row of pictures."""
    shown = found[:_SHOWN_PER_KIND]
    clusters = []
    for finding in shown:
        paths = [path for path in (finding.path, *finding.related) if path is not None]
        pictures = [_picture(path, labels, root) for path in paths[:_SHOWN_PER_CLUSTER]]
        clusters.append({"pictures": pictures, "more": len(paths) - len(pictures)})
    return {
        "kind": kind,
        "severity": found[0].severity,
        "count": len(found),
        "more": len(found) - len(shown),
        "explained": _EXPLAINED[kind],
        "suggestion": found[0].suggestion,
        "clusters": clusters,
    }


def _files(kind: str, found: Sequence[Finding], labels: Labels, root: Path) -> dict[str, Any]:
    """Return one section of single files."""
    shown = found[:_SHOWN_PER_KIND]
    return {
        "kind": kind,
        "severity": found[0].severity,
        "count": len(found),
        "more": len(found) - len(shown),
        "suggestion": found[0].suggestion,
        "rows": [
            {**_picture(each.path, labels, root), "detail": each.detail}
            for each in shown
            if each.path is not None
        ],
    }


def _bad(found: Sequence[Finding], root: Path) -> dict[str, Any]:
    """Return the table of the files that cannot be used."""
    shown = found[:_SHOWN_BAD]
    named = [{"name": shown_path(f.path, root), "finding": f} for f in shown if f.path is not None]
    return {"count": len(found), "more": len(found) - len(shown), "rows": named}


def _picture(path: Path, labels: Labels, root: Path) -> dict[str, Any]:
    label, split = labels.get(path, (None, None))
    image = thumbnail(path, 2 * _THUMBNAIL) if label is not None else None
    return {
        "name": shown_path(path, root),
        "label": label,
        "detail": "",
        "split": split,
        "source": None if image is None else data_uri(_contained(image)),
    }


def _classes(result: CheckResult) -> list[dict[str, Any]]:
    if result.balance is None:
        return []
    most = max(result.balance.counts.values())
    return [
        {
            "name": name,
            "count": count,
            "different": result.balance.different[name],
            "share": 100 * count / most,
        }
        for name, count in result.balance.counts.items()
    ]


def _shapes(result: CheckResult) -> Iterator[dict[str, Any]]:
    """Yield a tall, a usual and a wide image in each way of making them square."""
    ordered = sorted(result.items, key=lambda item: item.width / max(item.height, 1))
    wanted = (min(int(share * len(ordered)), len(ordered) - 1) for share in (0.05, 0.5, 0.95))
    for item in dict.fromkeys(ordered[place] for place in wanted if place >= 0):
        image = thumbnail(item.path, 2 * _THUMBNAIL)
        if image is not None:
            yield {
                "size": f"{item.width} × {item.height}",
                "sources": [data_uri(_squared(image, way)) for way in _WAYS],
            }


def _contained(image: Image.Image) -> Image.Image:
    small = image.copy()
    small.thumbnail((_THUMBNAIL, _THUMBNAIL))
    return small


def _squared(image: Image.Image, way: str) -> Image.Image:
    size = (_THUMBNAIL * 2 // 3, _THUMBNAIL * 2 // 3)
    if way == "squash":
        return image.resize(size)
    return ImageOps.fit(image, size) if way == "crop" else ImageOps.pad(image, size)
