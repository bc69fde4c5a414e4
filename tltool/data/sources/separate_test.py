"""Joins a source of test images to the source of the other images."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

from tltool.data.item_columns import ItemColumns
from tltool.data.sources.listing import Listing
from tltool.errors import DataError


def with_test(listing: Listing, test: Listing) -> Listing:
    """Return ``listing`` with all images of another source as its test images.

    Raises:
        DataError: ``listing`` has a test split, or ``test`` defines other splits.
    """
    if any(item.given_split == "test" for item in listing.items):
        raise DataError(
            f"there are two test sets: {test.source} and the test split of {listing.source}",
            hint="omit --test, or remove the test split of the source",
        )
    if any(item.given_split in ("train", "validation") for item in test.items):
        raise DataError(
            f"{test.source} defines train or validation splits",
            hint="give only the test images with --test",
        )
    tested = ItemColumns(replace(item, given_split="test") for item in test.items)
    return replace(
        listing,
        items=listing.columns.joined(tested),
        hidden=listing.hidden + test.hidden,
        ignored=dict(sorted((Counter(listing.ignored) + Counter(test.ignored)).items())),
        stray=listing.stray + test.stray,
        empty_classes=listing.empty_classes + test.empty_classes,
        other_files=listing.other_files + test.other_files,
        misnamed=listing.misnamed + test.misnamed,
        notes=listing.notes + test.notes,
    )
