"""Everything that a check of a data set has found, and the few lines that sum it up."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

from tltool.data.catalog import Item
from tltool.data.checks.balance import Balance
from tltool.data.checks.copies import NOT_COMPARED
from tltool.data.checks.findings import SEVERITIES, Finding
from tltool.data.checks.shape import Shape
from tltool.data.checks.shortcuts import Shortcut
from tltool.data.duplicates import Cluster

BAD_KINDS = (
    *("unreadable", "empty", "damaged", "not an image", "unsupported"),
    *("too many pixels", "too large"),
)
_ODD_KINDS = (
    *("wrong extension", "extreme aspect", "tiny", "animated", "outside the class folders"),
    *("empty class folder", "CMYK", "16 bit", "transparent", "turned by EXIF", "huge"),
)
_CLASS_KINDS = (
    *("class without images", "class too small", "same class name", "uneven classes"),
    "small class",
    "only one class",
)

Verdict = Literal["ok", "look", "serious"]


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
        clusters: of the duplicates among ``items``.
        network: whose features had a say in them; None if its weights are not at hand.
        balance: of the classes, None without a usable image.
        shape: aspect ratios, None without a usable image.
        shortcuts: properties tried, the best predictor first.
        given_splits: names of the splits that the source gives.
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

    def count(self, severity: str) -> int:
        """Return the number of findings of one severity."""
        return sum(finding.severity == severity for finding in self.findings)

    def told_serious(self) -> str:
        """Return how many serious findings there are, in words."""
        count = self.count("serious")
        return f"{count:,} serious finding{'s' * (count != 1)}"

    def shown(self, path: Path) -> str:
        """Return how a person knows a file: as it is spelled, or by its place in the source."""
        inside = path.is_relative_to(self.root)
        return str(Path(self.source) / path.relative_to(self.root) if inside else path)

    def to_json(self) -> dict[str, Any]:
        """Return everything but the items as a JSON-ready document."""
        return {
            "source": self.source,
            "images": self.images,
            "usable": len(self.items),
            "bytes": self.bytes,
            "counts": {severity: self.count(severity) for severity in SEVERITIES},
            "summary": [line._asdict() for line in summary(self)],
            "classes": asdict(self.balance) if self.balance else None,
            "shape": asdict(self.shape) if self.shape else None,
            "shortcuts": [
                {**asdict(each), "lift": each.lift, "found": each.found} for each in self.shortcuts
            ],
            "network": self.network,
            "duplicates": [
                {"exact": c.exact, "files": [self.shown(self.items[i].path) for i in c.members]}
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
        _told(result, "unusable files", BAD_KINDS, none="every file can be read"),
        _told(result, "odd files", _ODD_KINDS, none="none"),
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


def _conflicts(result: CheckResult) -> Line:
    found = _of(result, ("label conflict",))
    told = f"{_pictures(len(found))} in more than one class"
    return Line("label conflicts", _verdict(found), told if found else "none")


def _leaks(result: CheckResult) -> Line:
    found = _of(result, ("leak across splits",))
    if found:
        told = f"{_pictures(len(found))} in more than one split"
    elif len(result.given_splits) > 1:
        told = f"no picture is in two of {', '.join(result.given_splits)}"
    else:
        told = "no splits are given"
    return Line("leaks across splits", _verdict(found), told)


def _duplicates(result: CheckResult) -> Line:
    exact = sum(cluster.exact for cluster in result.clusters)
    near = len(result.clusters) - exact
    told = f"{_pictures(exact + near)} there more than once: {exact:,} exactly, {near:,} nearly"
    found = bool(result.clusters)
    told = told if found else "none"
    if _of(result, (NOT_COMPARED,)):
        told += "; not all pairs were compared, since many images have one layout"
    return Line("duplicates", "look" if found else "ok", told)


def _pictures(count: int) -> str:
    return "1 picture is" if count == 1 else f"{count:,} pictures are"


def _classes(result: CheckResult) -> Line:
    found = _of(result, _CLASS_KINDS)
    if result.balance is None:
        return Line("classes", "serious", "no usable image")
    counts = list(result.balance.counts.values())
    sizes = dict.fromkeys(f"{count:,}" for count in (counts[-1], counts[0]))
    told = f"{len(counts)} of {' to '.join(sizes)} images"
    if found:
        told += f"; {_counted(found)}"
    return Line("classes", _verdict(found), told)


def _shortcuts(result: CheckResult) -> Line:
    found = [finding for finding in result.findings if finding.kind.startswith("shortcut")]
    if not result.shortcuts:
        return Line("shortcuts", "ok", "too few images to tell, or nothing differs")
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
