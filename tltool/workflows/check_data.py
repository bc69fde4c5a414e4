"""Check a data set before training: files, duplicates, leakage, classes, shortcuts, shapes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from tltool.data.audit.changed_files import files_as_audited
from tltool.data.catalog import SPLIT_NAMES, Item
from tltool.data.checks.aspect_ratios import measure_shape
from tltool.data.checks.check_result import CheckResult
from tltool.data.checks.class_imbalance import Balance, class_findings, measure_balance
from tltool.data.checks.copy_names import copy_name_findings
from tltool.data.checks.duplicate_findings import (
    clusters_with_labelled_images,
    duplicate_findings,
)
from tltool.data.checks.file_findings import stray_file_findings, too_many_unusable
from tltool.data.checks.file_properties import FEATURES
from tltool.data.checks.findings import SEVERITIES, Finding, write_findings
from tltool.data.checks.layout_findings import layout_findings
from tltool.data.checks.recipe_choice import recommend_recipe
from tltool.data.checks.scan_files import scan_files
from tltool.data.checks.scan_state import Scan
from tltool.data.checks.shortcuts import Shortcut, find_shortcuts, shortcut_findings
from tltool.data.duplicates.find_duplicates import Cluster, PairVerifier, cluster_duplicates
from tltool.data.item_columns import ItemColumns
from tltool.data.sources.listing import Listing
from tltool.data.sources.open import read_source
from tltool.data.sources.source_cache import cache_folder
from tltool.engine.work import Engine
from tltool.errors import EnvironmentProblem
from tltool.evaluation.report.data_report import write_data_report
from tltool.events import Observer, SilentObserver
from tltool.recipe.schema import DataSection
from tltool.storage.durable import replaced_file
from tltool.training.own_settings import with_own_settings
from tltool.weights import weights_store
from tltool.weights.weights_store import StoredWeights
from tltool.workflows.preflight.output_paths import (
    ISSUES_FILE,
    REPORT_FILE,
    check_outside_images,
    claim_report_folder,
    report_folder,
    source_mark,
)
from tltool.workflows.scan_by_workers import scan_by_workers
from tltool.workflows.workers import checked_workers, open_workers

_NETWORK = "vgg16"


@dataclass(frozen=True)
class DataCheck:
    """The result of a check, and the files it was written to."""

    result: CheckResult
    report: Path
    issues: Path

    def to_json(self) -> dict[str, Any]:
        """Return a JSON-ready document."""
        files = {"report": str(self.report), "issues": str(self.issues)}
        return {**self.result.to_json(), **files}


@with_own_settings
def check_data(
    source: Path | str,
    *,
    out: Path | str | None = None,
    image_size: int = 224,
    ood_images: str | None = None,
    pixels: str | None = None,
    offline: bool = False,
    workers: int | None = None,
    cluster: str | None = None,
    observer: Observer | None = None,
) -> DataCheck:
    """Check the images of ``source`` and write ``data_report.html`` and ``data_issues.csv``.

    Args:
        source: a folder with one folder per class or with train, val and test folders, or any other
            source.
        out: folder for both files; None is ``data_check/NAME`` in the current folder, with a
            number if that contains the report of another source.
        image_size: side in pixels of the model's square input.
        ood_images: name of a folder of OOD images: the recipe's ``data.ood_images``.
        pixels: shape of the images in a table of pixels, HxW or HxWx3; None means square.
        offline: open no network connection.
        workers: processes on this machine that open and decode the files; needs Ray. The result
            does not depend on them.
        cluster: a running Ray cluster that does so instead: auto or HOST:PORT.
        observer: receives the progress.

    Raises:
        DataError: there are no images.
        UsageError: the report would be among the images, or replace a file that is not a report.
        EnvironmentProblem: the report cannot be written.

    Examples:
        >>> check = tltool.check_data("photos")
        >>> check.report
        PosixPath('data_check/photos/data_report.html')
    """
    observer = observer or SilentObserver()
    folder, where = report_folder(str(source), out), checked_workers(workers, cluster)
    observer.on_phase("source", str(source))
    listing = read_source(
        source,
        ood_images=ood_images,
        min_classes=1,
        pixels=pixels,
        offline=offline,
        observer=observer,
    )
    check_outside_images(folder, listing, option="--out")
    columns, listing = listing.columns, replace(listing, items=())  # the scan changes the columns
    with open_workers(where, gpu=False, observer=observer) as engine:
        observer.on_phase("files", f"{len(columns):,} images")
        scan = _scan(engine, columns, image_size, observer)
        ood_scan = None
        if ood_images is not None:
            observer.on_phase("OOD images", f"{len(listing.ood_images):,} images")
            ood_items = ItemColumns(Item(path, ood_images) for path in listing.ood_images)
            ood_scan = _scan(engine, ood_items, image_size, observer)
    result = _check(listing, scan, ood_scan, ood_images, observer)
    folder = _write(result, str(source), out)
    observer.on_phase("report", str(folder))
    return DataCheck(result, folder / REPORT_FILE, folder / ISSUES_FILE)


def _scan(engine: Engine | None, items: ItemColumns, image_size: int, observer: Observer) -> Scan:
    scan = scan_files if engine is None else partial(scan_by_workers, engine)
    max_pixels = DataSection().max_pixels
    return scan(items, max_pixels=max_pixels, image_size=image_size, observer=observer)


def _write(result: CheckResult, source: str, out: Path | str | None) -> Path:
    """Write both files and return their folder."""
    folder = report_folder(source, out)
    try:
        folder = claim_report_folder(source, out)
        with replaced_file(folder / REPORT_FILE) as report:
            write_data_report(report, result, mark=source_mark(source))
            with replaced_file(folder / ISSUES_FILE) as issues:
                write_findings(issues, result.findings, shown=result.shown)
    except OSError as error:
        raise EnvironmentProblem(
            f"the report cannot be written to '{folder}': {error.strerror or error}",
            hint="give another folder with --out",
        ) from None
    return folder


def _check(
    listing: Listing,
    scan: Scan,
    ood_scan: Scan | None,
    ood_source: str | None,
    observer: Observer,
) -> CheckResult:
    observer.on_phase("duplicates", "perceptual hashes")
    weights = _find_weights(observer)
    verify = None if weights is None else _feature_verifier(weights, observer)
    ood_items = ood_scan.items if ood_scan else ItemColumns()
    everything = scan.items.joined(ood_items)
    with files_as_audited(lambda: everything):
        duplicates = cluster_duplicates(
            everything, verify_pairs=verify, progress=observer.on_progress
        )
    clusters = clusters_with_labelled_images(duplicates.clusters, everything, ood_source)
    observer.on_phase("shortcuts", "a decision tree per file property")
    shortcuts = _shortcuts(scan)
    balance = measure_balance(scan.items, _in_classes(clusters, scan)) if scan.items else None
    recipe = recommend_recipe(scan.features)
    findings = [
        *_file_findings(listing, scan, ignore_tiny=recipe is not None),
        *(ood_scan.findings if ood_scan else ()),
        *duplicate_findings(listing.shown, everything, duplicates, ood_label=ood_source),
        *copy_name_findings(listing.shown, scan.items),
        *_class_findings(scan, balance),
        *shortcut_findings(shortcuts),
    ]
    source_splits = scan.items.given_splits()
    aspects = scan.features[:, FEATURES.index("aspect")]
    return CheckResult(
        source=listing.source,
        root=listing.root,
        images=scan.files,
        bytes=scan.bytes,
        items=scan.items,
        findings=sorted(findings, key=lambda finding: SEVERITIES.index(finding.severity)),
        clusters=clusters,
        network=None if weights is None else weights.name,
        balance=balance,
        shape=measure_shape(aspects, predicts_class=_by_aspect(shortcuts)) if scan.items else None,
        shortcuts=shortcuts,
        given_splits=[name for name in SPLIT_NAMES if name in source_splits],
        recipe=recipe,
        ood_source=ood_source,
        ood_count=len(listing.ood_images),
        ood_images=ood_items,
    )


def _file_findings(listing: Listing, scan: Scan, *, ignore_tiny: bool) -> Iterator[Finding]:
    """Yield the findings about files; ``ignore_tiny`` where the recommended network is as small."""
    yield from layout_findings(listing)
    yield from stray_file_findings(listing)
    yield from (each for each in scan.findings if not (ignore_tiny and each.kind == "tiny"))
    unusable = scan.files - len(scan.items)
    yield from too_many_unusable(unusable, scan.files, limit=DataSection().max_bad_fraction)


def _class_findings(scan: Scan, balance: Balance | None) -> Iterator[Finding]:
    usable = set(scan.items.classes())
    if balance is not None:
        yield from class_findings(balance, sorted(scan.labels - usable))


def _in_classes(clusters: Sequence[Cluster], scan: Scan) -> list[Cluster]:
    """Return the clusters without the OOD images, which come after the items of the classes."""
    count = len(scan.items)
    return [replace(c, members=tuple(i for i in c.members if i < count)) for c in clusters]


def _find_weights(observer: Observer) -> StoredWeights | None:
    """Return the weights for the verification of near duplicates, if they are stored and valid."""
    try:
        return weights_store.find(_NETWORK)
    except EnvironmentProblem as problem:
        observer.on_message(
            f"{problem.message}; near duplicates are searched without its features",
            level="warning",
        )
        return None


def _feature_verifier(weights: StoredWeights, observer: Observer) -> PairVerifier:
    def verify(pairs: Sequence[tuple[Item, Item]]) -> Sequence[bool]:
        # imported here: for most data sets no pair needs to be verified
        from tltool.features.embedding_similarity import EmbeddingSimilarity

        return EmbeddingSimilarity(weights, cache_folder(), observer)(pairs)

    return verify


def _shortcuts(scan: Scan) -> list[Shortcut]:
    present, labels = np.unique(scan.items.label_ranks(), return_inverse=True)
    columns = dict(zip(FEATURES, scan.features.T, strict=True))
    return find_shortcuts(columns, scan.cameras, labels) if len(present) > 1 else []


def _by_aspect(shortcuts: Sequence[Shortcut]) -> bool:
    """Return whether the aspect ratio predicts the class."""
    return any(each.is_shortcut and each.name == "aspect ratio" for each in shortcuts)
