"""Everything that a check of a data set has found, and the few lines that sum it up."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

from tltool.data.catalog import Item
from tltool.data.checks.aspect_ratios import Shape
from tltool.data.checks.class_imbalance import Balance
from tltool.data.checks.duplicate_findings import NOT_COMPARED
from tltool.data.checks.file_findings import MANY
from tltool.data.checks.findings import SEVERITIES, Finding
from tltool.data.checks.recipe_choice import TINY
from tltool.data.checks.shortcuts import FOLDS, Shortcut
from tltool.data.duplicates.find_duplicates import Cluster

BAD_KINDS = (
    *("unreadable", "empty", "damaged", "not an image", "unsupported"),
    *("too many pixels", "too large"),
)
_ODD_KINDS = (
    *("wrong extension", "extreme aspect", "tiny", "animated", "outside the class folders"),
    *(
        "link to other images",
        "empty class folder",
        "CMYK",
        "16 bit",
        "transparent",
        "turned by EXIF",
        "huge",
    ),
)
_CLASS_KINDS = (
    *("class without images", "class too small", "same class name", "uneven classes"),
    "small class",
    "only one class",
)

_CLASS_TOLD = {
    "class without images": "{} more without a usable image",
    "class too small": "{} too small",
    "small class": "{} small",
    "same class name": "{} spelled in two ways",
}

Verdict = Literal["ok", "look", "serious", "unknown"]
"""``unknown`` where there was nothing to judge by."""


class Line(NamedTuple):
    """One line of the summary."""

    what: str
    verdict: Verdict
    told: str


@dataclass(frozen=True)
class CheckResult:
    """A checked data set.

    Attributes:
        source: as the user named it.
        root: folder of the files; for other sources than folders that of their copy.
        images: files with an image's name.
        bytes: size of the usable ones.
        items: the usable ones, audited.
        findings: serious ones first.
        clusters: of the duplicates, by position in ``items`` and, after them, ``ood_images``.
        network: whose features had a say in them; None if its weights are not at hand.
        balance: of the classes, None without a usable image.
        shape: aspect ratios, None without a usable image.
        shortcuts: properties tried, the best predictor first.
        given_splits: names of the splits that the source gives.
        recipe: the shipped recipe that suits, None where the usual ones do.
        ood_source: where the out-of-distribution images are; None without such.
        ood_count: how many there are.
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
        """Return how many serious findings there are, in words."""
        count = self.count("serious")
        return f"{count:,} serious finding{'s' * (count != 1)}"

    def shown(self, path: Path) -> str:
        """Return how a person knows a file: as it is spelled, or by its place in the source."""
        inside = path.is_relative_to(self.root)
        return str(Path(self.source) / path.relative_to(self.root) if inside else path)

    def to_json(self) -> dict[str, Any]:
        """Return everything but the items as a JSON-ready document."""
        items = [*self.items, *self.ood_images]
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
                {**asdict(each), "lift": each.lift, "found": each.found} for each in self.shortcuts
            ],
            "recipe": self.recipe,
            "network": self.network,
            "duplicates": [
                {"exact": c.exact, "files": [self.shown(items[i].path) for i in c.members]}
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


def summary(result: CheckResult) -> list[Line]:
    """Return one line for each kind of check, for a person to read in ten seconds."""
    return [
        _unusable(result),
        _told(result, "odd files", _ODD_KINDS, none="none"),
        *_ood_images(result),
        _conflicts(result),
        _leaks(result),
        _duplicates(result),
        _classes(result),
        _shortcuts(result),
        *_shape(result),
    ]


def _verdict(found: Sequence[Finding]) -> Verdict:
    severities = {finding.severity for finding in found}
    if "serious" in severities:
        return "serious"
    return "look" if "warning" in severities else "ok"


def _of(result: CheckResult, kinds: Sequence[str]) -> list[Finding]:
    return [finding for finding in result.findings if finding.kind in kinds]


def _counted(found: Sequence[Finding]) -> str:
    kinds = Counter(finding.kind for finding in found)
    return ", ".join(f"{count:,} {kind}" for kind, count in kinds.most_common())


def _told(result: CheckResult, what: str, kinds: Sequence[str], *, none: str) -> Line:
    found = _of(result, kinds)
    return Line(what, _verdict(found), _counted(found) or none)


def _unusable(result: CheckResult) -> Line:
    line = _told(result, "unusable files", BAD_KINDS, none="every file can be read")
    return line._replace(told=f"{line.told}; too many to train") if _of(result, (MANY,)) else line


def _conflicts(result: CheckResult) -> Line:
    found = _of(result, ("label conflict",))
    told = f"{_pictures(len(found))} in more than one class"
    return Line("label conflicts", _verdict(found), told if found else "none")


def _leaks(result: CheckResult) -> Line:
    found = _of(result, ("leak across splits",))
    if len(result.given_splits) < 2:
        return Line("leaks across splits", "unknown", "not looked at: the source gives no splits")
    told = f"no picture is in two of {', '.join(result.given_splits)}"
    if found:
        told = f"{_pictures(len(found))} in more than one split"
    return Line("leaks across splits", _verdict(found), told)


def _duplicates(result: CheckResult) -> Line:
    """Count each cluster once: where it is named, so that table and findings agree."""
    kinds = Counter(finding.kind for finding in result.findings)
    exact, near = kinds["exact duplicate"], kinds["near duplicate"]
    above = len(result.clusters) - exact - near
    if exact + near:
        told = f"{exact:,} exactly, {near:,} nearly"
        told += f", {above:,} told above" if above else ""
        told = f"{_pictures(len(result.clusters))} there more than once: {told}"
    else:
        told = f"none beside the {above:,} told above" if above else "none"
    if _of(result, (NOT_COMPARED,)):
        told += "; not all pairs were compared, since many images have one layout"
    return Line("duplicates", "look" if exact + near else "ok", told)


def _ood_images(result: CheckResult) -> Iterator[Line]:
    """Yield what is known of the out-of-distribution images, if there are any."""
    if result.ood_source is None:
        return
    paths = {item.path for item in result.ood_images}
    found = _of(result, ("label conflict",))
    among = sum(not paths.isdisjoint((f.path, *f.related)) for f in found)
    lost = result.ood_count - len(result.ood_images)
    told = f"{result.ood_count:,} of {result.ood_source!r}"
    told += f", {lost:,} cannot be used" if lost else ""
    told += f", {_pictures(among)} in a class too" if among else ""
    yield Line("OOD images", "serious" if lost or among else "ok", told)


def _pictures(count: int) -> str:
    return "1 picture is" if count == 1 else f"{count:,} pictures are"


def _classes(result: CheckResult) -> Line:
    found = _of(result, _CLASS_KINDS)
    if result.balance is None:
        return Line("classes", "serious", "no usable image")
    counts = list(result.balance.counts.values())
    sizes = dict.fromkeys(f"{count:,}" for count in (counts[-1], counts[0]))
    classes = "1 class" if len(counts) == 1 else f"{len(counts):,} classes"
    told = f"{classes} of {' to '.join(sizes)} image{'s' * (sizes.keys() != {'1'})}"
    kinds = Counter(finding.kind for finding in found)
    more = [_CLASS_TOLD.get(kind, kind).format(f"{n:,}") for kind, n in kinds.most_common()]
    return Line("classes", _verdict(found), "; ".join([told, ", ".join(more)] if more else [told]))


def _shortcuts(result: CheckResult) -> Line:
    found = [finding for finding in result.findings if finding.kind.startswith("shortcut")]
    if not result.shortcuts:
        counts = result.balance.counts.values() if result.balance else ()
        if sum(count >= FOLDS for count in counts) < 2:
            told = f"not looked at: fewer than two classes have {FOLDS} images"
            return Line("shortcuts", "unknown", told)
        return Line("shortcuts", "ok", "none: the images do not differ in what was looked at")
    named = [each for each in result.shortcuts if each.found] or result.shortcuts[:1]
    told = ", ".join(f"{each.name} {each.accuracy:.0%}" for each in named)
    lead = "" if found else "none; best guess by "
    return Line(
        "shortcuts",
        _verdict(found),
        f"{lead}{told} (largest class {result.shortcuts[0].majority:.0%})",
    )


def _shape(result: CheckResult) -> Iterator[Line]:
    if result.shape is not None:
        shape = result.shape
        yield Line("shape", "ok", f"data.resize={shape.recommended}: {shape.reason}")
    if result.recipe is not None:
        told = f"{result.recipe}: nearly all images are grey, and {TINY} pixels a side at most"
        yield Line("recipe", "ok", told)
