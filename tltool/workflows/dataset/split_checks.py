"""Checks of a request to split a source, before the split is drawn or written."""

from __future__ import annotations

from pathlib import Path

from tltool.data.sources.listing import Listing
from tltool.data.sources.source_cache import cache_folder
from tltool.errors import DataError, UsageError
from tltool.storage.address import address_of_copy
from tltool.workflows.dataset.export_split import How
from tltool.workflows.preflight.output_paths import SPLIT_FILE


def check_drawn(listing: Listing, validation: float | None, test: float | None) -> None:
    """Check that no share is set for a split that the source defines.

    Raises:
        UsageError: names the option.
    """
    source_splits = listing.columns.given_splits()
    for option, share, splits in (
        ("--val", validation, ("validation",)),
        ("--test", test, ("test", "validation")),  # with a validation split, nothing is drawn
    ):
        kept = [split for split in splits if split in source_splits]
        if share and kept:
            no_draw = ", so no split is drawn" if kept[0] == "validation" else ""
            raise UsageError(
                f"{option} {share:g} has no effect: {listing.source} defines a {kept[0]}"
                f" split{no_draw}",
                hint=f"omit {option}, or merge the splits of the source",
            )


def check_not_in_cache(listing: Listing, how: How) -> None:
    """Check that images in the cache are copied, since the cache can be deleted at any time.

    Images in an object store can be listed, by their addresses.

    Raises:
        UsageError: they would be listed or linked.
    """
    cache = cache_folder().absolute()
    listed = () if how == "link" else listing.addresses
    if how != "copy" and any(
        item.path.absolute().is_relative_to(cache) and not address_of_copy(item.path, listed)
        for item in listing.items
    ):
        raise UsageError(
            f"the images of {listing.source} are in the cache, which can be deleted at any time, so"
            f" {SPLIT_FILE if how == 'list' else 'links'} must not refer to them",
            hint="copy them: --how copy",
        )


def check_groups(listing: Listing, by: str, shares: tuple[float, float], kfold: int | None) -> None:
    """Check that every class has enough groups; an image without a group counts as one.

    Raises:
        DataError: names the classes with too few.
    """
    source_splits = listing.columns.given_splits()
    drawn = 0
    if "validation" not in source_splits:
        drawn = 1 + bool(shares[0]) + bool(shares[1] and "test" not in source_splits)
    needed = max(drawn, kfold or 0)
    free = [item for item in listing.items if item.given_split in (None, "train")]
    groups: dict[str, set[str]] = {}
    for item in free:
        groups.setdefault(item.label, set()).add(item.group or f"\0{item.path}")
    few = [
        f"{name!r} has {len(groups[name])}" for name in sorted(groups) if len(groups[name]) < needed
    ]
    if few:
        what = f"{kfold} folds" if needed > drawn else f"{drawn} splits"
        raise DataError(
            f"--group {by} gives too few groups for {what}: {', '.join(few)}",
            hint="use fewer splits (--test 0, a smaller --kfold), or another --group",
        )


def check_empty(folder: Path, *, option: str = "--out") -> None:
    """Check that a folder is absent or empty.

    Raises:
        UsageError: it is a file, or holds files.
    """
    if folder.exists() and not folder.is_dir():
        raise UsageError(
            f"'{folder}' is a file", hint=f"give a folder with {option}; the file was not changed"
        )
    if folder.exists() and any(folder.iterdir()):
        raise UsageError(
            f"'{folder}' is not empty",
            hint=f"give another folder with {option}; it was not changed",
        )
