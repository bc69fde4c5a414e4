"""Sources of samples in shards: ``parquet:PATH``, ``wds:PATH``, or the path of a Parquet file."""

from __future__ import annotations

from pathlib import Path

from tltool.data.sources.listing import Listing
from tltool.data.sources.sample_sets.parquet import EXTENSIONS, find_parquet, list_parquet
from tltool.data.sources.sample_sets.webdataset import find_webdataset, list_webdataset
from tltool.events import Observer
from tltool.recipe.source_text import PARQUET, WDS


def is_sample_source(source: str) -> bool:
    """Return whether a source is samples in shards."""
    return source.startswith((PARQUET, WDS)) or source.lower().endswith(EXTENSIONS)


def check_sample_source(source: str) -> None:
    """Check that the files of a source exist, without opening them.

    Raises:
        DataError: they do not, or some of a series are missing.
    """
    if source.startswith(WDS):
        find_webdataset(source)
    else:
        find_parquet(source)


def list_sample_source(source: str, *, labelled: bool, cache: Path, observer: Observer) -> Listing:
    """List the images of a source of samples; see ``list_parquet`` and ``list_webdataset``."""
    list_samples = list_webdataset if source.startswith(WDS) else list_parquet
    return list_samples(source, labelled=labelled, cache=cache, observer=observer)
