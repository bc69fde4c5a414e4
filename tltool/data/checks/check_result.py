"""The result of a check of a data set, and its summary."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

from tltool.data.audit.file_warnings import SERIOUS
from tltool.data.catalog import Item
from tltool.data.checks.aspect_ratios import Shape
from tltool.data.checks.class_imbalance import Balance
from tltool.data.checks.copy_names import COPIES_BY_NAME
from tltool.data.checks.duplicate_findings import NOT_COMPARED
from tltool.data.checks.file_findings import CROSS_CLASS_LINK, TOO_MANY_UNUSABLE
from tltool.data.checks.findings import SEVERITIES, Finding
from tltool.data.checks.layout_findings import LAYOUT_KINDS
from tltool.data.checks.recipe_choice import TINY
from tltool.data.checks.shortcuts import FOLDS, Shortcut
from tltool.data.duplicates.find_duplicates import Cluster
from tltool.errors import counted

BAD_KINDS = (
    *("unreadable", "empty", "damaged", "not an image", "unsupported"),
    *("too many pixels", "too large"),
)
_UNUSUAL_KINDS = (
    *SERIOUS,
    *("wrong extension", "extreme aspect", "tiny", "animated", "outside the class folders"),
    *(
        CROSS_CLASS_LINK,
        "empty class folder",
        "CMYK",
        "16 bit",
        "transparent",
        "EXIF orientation",
        "huge",
    ),
)
_CLASS_KINDS = (
    *("class without images", "class too small", "similar class names", "class imbalance"),
    "small class",
    "only one class",
    "missing label",
    "numbers as classes",
)

_CLASS_MESSAGES = {
    "class without images": "{} without a usable image",
    "class too small": "{} too small",
    "small class": "{} small",
    "similar class names": "{} with similar names",
    "missing label": "{} named like a missing value",
}

Verdict = Literal["ok", "warning", "serious", "unknown"]
"""``unknown`` where a check was not possible."""


class SummaryLine(NamedTuple):
    """One line of the summary."""

    check: str
    verdict: Verdict
    message: str


@dataclass(frozen=True)
class CheckResult:
    """A checked data set.

    Attributes:
        source: as the user named it.
        root: folder of the files; for sources that are not folders, the cached copy.
        images: number of files with the extension of an image.
        bytes: total size of the usable ones.
        items: the usable ones, audited.
        findings: serious ones first.
        clusters: of the duplicates, by position in ``items`` and, after them, ``ood_images``.
        network: whose features verified near duplicates; None if its weights are not available.
        balance: of the classes; None without a usable image.
        shape: aspect ratios; None without a usable image.
        shortcuts: properties analysed, the best predictor first.
        given_splits: names of the splits that the source defines.
        recipe: recommended; None for the default recipe.
        ood_source: folder or source of the out-of-distribution images; None without these.
        ood_count: number of them.
        ood_images: the usable ones, audited.
    """

    source: str
    root: Path
    images: int
    bytes: int
    items: Sequence[Item]
    findings: Sequence[Finding]
    clusters: Sequence[Cluster]
    network: str | None
    balance: Balance | None
    shape: Shape | None
    shortcuts: Sequence[Shortcut]
    given_splits: Sequence[str]
    recipe: str | None = None
    ood_source: str | None = None
    ood_count: int = 0
    ood_images: Sequence[Item] = ()

    def count(self, severity: str) -> int:
        """Return the number of findings of one severity."""
        return sum(finding.severity == severity for finding in self.findings)

    def describe_serious(self) -> str:
        """Return the number of serious findings, in words."""
        count = self.count("serious")
        return f"{count:,} serious finding{'s' * (count != 1)}"

    def shown(self, path: Path) -> str:
        """Return the displayed path of a file: in the source as the user named it, or the file."""
        inside = path.is_relative_to(self.root)
        return str(Path(self.source) / path.relative_to(self.root) if inside else path)

    def _path(self, position: int) -> Path:
        """Return the file at a position in ``items`` and, after them, ``ood_images``."""
        behind = position - len(self.items)
        return (self.items[position] if behind < 0 else self.ood_images[behind]).path

    def to_json(self) -> dict[str, Any]:
        """Return everything except the items as a JSON-ready document."""
        return {
            "source": self.source,
            "images": self.images,
            "usable": len(self.items),
            "bytes": self.bytes,
            "ood_images": {"images": self.ood_count, "usable": len(self.ood_images)},
            "counts": {severity: self.count(severity) for severity in SEVERITIES},
            "summary": [line._asdict() for line in summary(self)],
            "classes": asdict(self.balance) if self.balance else None,
            "shape": asdict(self.shape) if self.shape else None,
            "shortcuts": [
                {**asdict(each), "lift": each.lift, "is_shortcut": each.is_shortcut}
                for each in self.shortcuts
            ],
            "recipe": self.recipe,
            "network": self.network,
            "duplicates": [
                {"exact": c.exact, "files": [self.shown(self._path(i)) for i in c.members]}
                for c in self.clusters
            ],
            "findings": [
                {
                    **asdict(finding),
                    "path": None if finding.path is None else self.shown(finding.path),
                    "related": [self.shown(path) for path in finding.related],
                }
                for finding in self.findings
            ],
        }


def summary(result: CheckResult) -> list[SummaryLine]:
    """Return one line for each kind of check."""
    return [
        _unusable(result),
        _count_line(result, "unusual files", _UNUSUAL_KINDS, none="none"),
        *_layout(result),
        *_ood_images(result),
        _label_conflicts(result),
        _leakage(result),
        _duplicates(result),
        _classes(result),
        _shortcuts(result),
        *_shape(result),
    ]


def _verdict(findings: Sequence[Finding]) -> Verdict:
    severities = {finding.severity for finding in findings}
    if "serious" in severities:
        return "serious"
    return "warning" if "warning" in severities else "ok"


def _of_kinds(result: CheckResult, kinds: Sequence[str]) -> list[Finding]:
    return [finding for finding in result.findings if finding.kind in kinds]


def _count_line(result: CheckResult, check: str, kinds: Sequence[str], *, none: str) -> SummaryLine:
    findings = _of_kinds(result, kinds)
    counts = Counter(finding.kind for finding in findings).most_common()
    message = ", ".join(f"{count:,} {kind}" for kind, count in counts)
    return SummaryLine(check, _verdict(findings), message or none)


def _unusable(result: CheckResult) -> SummaryLine:
    line = _count_line(result, "unusable files", BAD_KINDS, none="every file can be read")
    if _of_kinds(result, (TOO_MANY_UNUSABLE,)):
        return line._replace(message=f"{line.message}; too many for training")
    return line


def _layout(result: CheckResult) -> Iterator[SummaryLine]:
    """Yield a line about the folders, if there is anything to say."""
    if _of_kinds(result, LAYOUT_KINDS):
        yield _count_line(result, "folders", LAYOUT_KINDS, none="")


def _label_conflicts(result: CheckResult) -> SummaryLine:
    findings = _of_kinds(result, ("label conflict",))
    message = f"{_images_are(len(findings))} in more than one class" if findings else "none"
    return SummaryLine("label conflicts", _verdict(findings), message)


def _leakage(result: CheckResult) -> SummaryLine:
    findings = _of_kinds(result, ("data leakage",))
    if len(result.given_splits) < 2:
        return SummaryLine("data leakage", "unknown", "not checked: the source defines no splits")
    message = f"no duplicates across {', '.join(result.given_splits)}"
    if findings:
        message = f"{_images_are(len(findings))} in more than one split"
    return SummaryLine("data leakage", _verdict(findings), message)


def _duplicates(result: CheckResult) -> SummaryLine:
    """Count each cluster once, also one that is a label conflict or leakage."""
    kinds = Counter(finding.kind for finding in result.findings)
    exact, near = kinds["exact duplicate"], kinds["near duplicate"]
    above = len(result.clusters) - exact - near
    if exact + near:
        message = f"{exact:,} exact, {near:,} near"
        message += f", {above:,} counted above" if above else ""
        count = len(result.clusters)
        message = f"{count:,} image{'s' * (count != 1)} with duplicates: {message}"
    else:
        message = f"none except the {above:,} counted above" if above else "none"
    if _of_kinds(result, (NOT_COMPARED,)):
        message += "; not all pairs of images were compared"
    verdict: Verdict = "warning" if exact + near else "ok"
    named = _of_kinds(result, (COPIES_BY_NAME,))
    if named:
        message = f"{message}; {named[0].detail.partition(',')[0]}"
        verdict = _verdict(named)
    return SummaryLine("duplicates", verdict, message)


def _ood_images(result: CheckResult) -> Iterator[SummaryLine]:
    """Yield a line about the out-of-distribution images, if there are any."""
    if result.ood_source is None:
        return
    paths = {item.path for item in result.ood_images}
    conflicts = _of_kinds(result, ("label conflict",))
    in_a_class = sum(not paths.isdisjoint((f.path, *f.related)) for f in conflicts)
    unusable = result.ood_count - len(result.ood_images)
    message = f"{result.ood_count:,} in {result.ood_source!r}"
    message += f", {unusable:,} unusable" if unusable else ""
    message += f", {_images_are(in_a_class)} also in a class" if in_a_class else ""
    yield SummaryLine("OOD images", "serious" if unusable or in_a_class else "ok", message)


def _images_are(count: int) -> str:
    return counted(count, "image is", "images are")


def _classes(result: CheckResult) -> SummaryLine:
    findings = _of_kinds(result, _CLASS_KINDS)
    if result.balance is None:
        return SummaryLine("classes", "serious", "no usable image")
    counts = list(result.balance.counts.values())
    sizes = dict.fromkeys(f"{count:,}" for count in (counts[-1], counts[0]))
    classes = "1 class" if len(counts) == 1 else f"{len(counts):,} classes"
    size = f"{classes} of {' to '.join(sizes)} image{'s' * (sizes.keys() != {'1'})}"
    kinds = Counter(finding.kind for finding in findings).most_common()
    problems = ", ".join(_CLASS_MESSAGES.get(kind, kind).format(f"{n:,}") for kind, n in kinds)
    message = f"{size}; {problems}" if problems else size
    return SummaryLine("classes", _verdict(findings), message)


def _shortcuts(result: CheckResult) -> SummaryLine:
    findings = [finding for finding in result.findings if finding.kind.startswith("shortcut")]
    if not result.shortcuts:
        counts = result.balance.counts.values() if result.balance else ()
        if sum(count >= FOLDS for count in counts) < 2:
            message = f"not checked: fewer than two classes have {FOLDS} images"
            return SummaryLine("shortcuts", "unknown", message)
        return SummaryLine("shortcuts", "ok", "none: all images have the same file properties")
    named = [each for each in result.shortcuts if each.is_shortcut] or result.shortcuts[:1]
    accuracies = ", ".join(f"{each.name} {each.accuracy:.0%}" for each in named)
    start = "" if findings else "none; best predictor: "
    baseline = f"(majority class {result.shortcuts[0].majority:.0%})"
    return SummaryLine("shortcuts", _verdict(findings), f"{start}{accuracies} {baseline}")


def _shape(result: CheckResult) -> Iterator[SummaryLine]:
    if result.shape is not None:
        shape = result.shape
        yield SummaryLine("aspect ratio", "ok", f"data.resize={shape.recommended}: {shape.reason}")
    if result.recipe is not None:
        message = f"{result.recipe}: nearly all images are grey and at most {TINY} pixels per side"
        yield SummaryLine("recipe", "ok", message)
