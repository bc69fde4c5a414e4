"""Look a data set over before training: files, duplicates, classes, shortcuts, shapes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tltool.data.catalog import SPLIT_NAMES, Catalog, Item
from tltool.data.checks.aspect_ratios import measure_shape
from tltool.data.checks.check_result import CheckResult
from tltool.data.checks.class_imbalance import class_findings, measure_balance
from tltool.data.checks.duplicate_findings import copies, with_a_class
from tltool.data.checks.file_findings import files_beside_images, many_unusable
from tltool.data.checks.file_properties import FEATURES
from tltool.data.checks.findings import SEVERITIES, write_findings
from tltool.data.checks.recipe_choice import recommend_recipe
from tltool.data.checks.scan_files import Scan, scan
from tltool.data.checks.shortcuts import Shortcut, find_shortcuts, shortcut_findings
from tltool.data.duplicates.find_duplicates import Cluster, SecondOpinion, find_copies
from tltool.data.sources.listing import Listing
from tltool.data.sources.open import read_source
from tltool.data.sources.source_cache import cache_folder
from tltool.errors import EnvironmentProblem
from tltool.evaluation.report.data_report import write_data_report
from tltool.events import Observer, SilentObserver
from tltool.recipe.schema import DataSection
from tltool.weights import weights_store
from tltool.weights.weights_store import StoredWeights
from tltool.workflows.preflight.output_paths import (
    ISSUES_FILE,
    REPORT_FILE,
    refuse_among,
    report_folder,
    source_mark,
)

_NETWORK = "vgg16"


@dataclass(frozen=True)
class Checked:
    """What was found, and where it is written."""

    result: CheckResult
    report: Path
    issues: Path

    def to_json(self) -> dict[str, Any]:
        """Return a JSON-ready document."""
        files = {"report": str(self.report), "issues": str(self.issues)}
        return {**self.result.to_json(), **files}


def check(
    source: Path | str,
    *,
    out: Path | str | None = None,
    image_size: int = 224,
    ood_images: str | None = None,
    pixels: str | None = None,
    offline: bool = False,
    observer: Observer | None = None,
) -> Checked:
    """Check the images of ``source`` and write ``data_report.html`` and ``data_issues.csv``.

    Args:
        source: one folder per class, train, val and test folders of such, or any other source.
        out: folder for both files; None is ``data_check/NAME`` in the current folder, with a
            number behind it where the report of another source lies there.
        image_size: side in pixels of the square that the model will see.
        ood_images: name of a folder of OOD images: the recipe's ``data.ood_images``.
        pixels: shape of the images in a table of pixels, HxW or HxWx3; None means square.
        offline: open no network connection.
        observer: told about the progress.

    Raises:
        DataError: there are no images.
        UsageError: the report would lie among the images, or replace a file that is no report.
        EnvironmentProblem: the report cannot be written.
    """
    observer = observer or SilentObserver()
    folder = report_folder(str(source), out)
    observer.on_phase("source", str(source))
    listing = read_source(
        source,
        ood_images=ood_images,
        min_classes=1,
        pixels=pixels,
        offline=offline,
        observer=observer,
    )
    refuse_among(folder, listing, option="--out")
    observer.on_phase("files", f"{len(listing.items):,} images")
    found = scan(
        listing.items,
        max_pixels=DataSection().max_pixels,
        image_size=image_size,
        observer=observer,
    )
    ood = None
    if ood_images is not None:
        observer.on_phase("OOD images", f"{len(listing.ood_images):,} images")
        ood = scan(
            [Item(path, ood_images) for path in listing.ood_images],
            max_pixels=DataSection().max_pixels,
            image_size=image_size,
            observer=observer,
        )
    result = _judged(listing, found, ood, ood_images, observer)
    observer.on_phase("report", str(folder))
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_findings(folder / ISSUES_FILE, result.findings, shown=result.shown)
        write_data_report(folder / REPORT_FILE, result, mark=source_mark(str(source)))
    except OSError as error:
        raise EnvironmentProblem(
            f"the report cannot be written to '{folder}': {error.strerror or error}",
            hint="give another folder with --out",
        ) from None
    return Checked(result, folder / REPORT_FILE, folder / ISSUES_FILE)


def _judged(
    listing: Listing, found: Scan, ood: Scan | None, ood_images: str | None, observer: Observer
) -> CheckResult:
    observer.on_phase("duplicates", "perceptual hashes")
    weights = _weights_at_hand(observer)
    opinion = None if weights is None else _by_features(weights, observer)
    everything = [*found.items, *(ood.items if ood else ())]
    found_copies = find_copies(everything, second_opinion=opinion, progress=observer.on_progress)
    clusters = with_a_class(found_copies.clusters, everything, ood_images)
    observer.on_phase("shortcuts", "a tree per property")
    shortcuts = _shortcuts(listing, found)
    telling = any(each.found and each.name == "aspect ratio" for each in shortcuts)
    aspects = found.features[:, FEATURES.index("aspect")]
    balance = measure_balance(found.items, _of_classes(clusters, found)) if found.items else None
    recipe = recommend_recipe(found.features)
    findings = [*files_beside_images(listing), *found.findings]
    if recipe is not None:  # its network sees no more pixels than these
        findings = [each for each in findings if each.kind != "tiny"]
    lost, most = len(listing.items) - len(found.items), DataSection().max_bad_fraction
    findings += many_unusable(lost, len(listing.items), most=most)
    findings += ood.findings if ood else []
    findings += copies(listing.shown, everything, found_copies, ood_label=ood_images)
    findings += class_findings(balance, _lost(listing, found.items)) if balance else []
    findings += shortcut_findings(shortcuts)
    given = {item.given_split for item in found.items}
    return CheckResult(
        source=listing.source,
        root=listing.root,
        images=len(listing.items),
        bytes=found.bytes,
        items=found.items,
        findings=sorted(findings, key=lambda finding: SEVERITIES.index(finding.severity)),
        clusters=clusters,
        network=None if weights is None else weights.name,
        balance=balance,
        shape=measure_shape(aspects, tells_class=telling) if found.items else None,
        shortcuts=shortcuts,
        given_splits=[name for name in SPLIT_NAMES if name in given],
        recipe=recipe,
        ood_source=ood_images,
        ood_count=len(listing.ood_images),
        ood_images=ood.items if ood else (),
    )


def _of_classes(clusters: Sequence[Cluster], found: Scan) -> list[Cluster]:
    """Return the clusters without the OOD images, which come after the items of the classes."""
    count = len(found.items)
    return [replace(c, members=tuple(i for i in c.members if i < count)) for c in clusters]


def _weights_at_hand(observer: Observer) -> StoredWeights | None:
    """Return the weights whose features tell copies, if they are stored and whole."""
    try:
        return weights_store.find(_NETWORK)
    except EnvironmentProblem as problem:
        observer.on_message(f"{problem.message}; copies are sought without it", level="warning")
        return None


def _by_features(weights: StoredWeights, observer: Observer) -> SecondOpinion:
    def alike(pairs: Sequence[tuple[Item, Item]]) -> list[bool]:
        from tltool.features.embedding_similarity import (
            EmbeddingSimilarity,  # most images leave nothing to ask
        )

        return EmbeddingSimilarity(weights, cache_folder(), observer)(pairs)

    return alike


def _shortcuts(listing: Listing, found: Scan) -> list[Shortcut]:
    names = sorted({item.label for item in found.items})
    labels = Catalog(listing.root, tuple(found.items), tuple(names)).labels()
    columns = dict(zip(FEATURES, found.features.T, strict=True))
    return find_shortcuts(columns, found.cameras, labels) if len(names) > 1 else []


def _lost(listing: Listing, usable: Sequence[Item]) -> list[str]:
    return sorted({item.label for item in listing.items} - {item.label for item in usable})
