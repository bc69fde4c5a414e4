"""The errors about data sources that do not exist or are other files."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path

from tltool.data.sources.archives.archive import ARCHIVES
from tltool.data.sources.array_files import array_file_hint
from tltool.data.sources.sample_sets.sample_sources import is_sample_source
from tltool.data.sources.tables.path_spelling import is_url
from tltool.data.sources.tables.table_rows import TABLES
from tltool.errors import DataError
from tltool.recipe.source_text import PREFIXES, is_remote
from tltool.storage.address import redacted

_HINTS = {
    (".xlsx", ".xls", ".ods", ".numbers"): "save the table as CSV in UTF-8",
    (".json", ".txt", ".lst", ".xml", ".yaml", ".yml"): "a table is CSV, TSV or JSONL (one JSON"
    " object per line)",
    (".rar", ".7z", ".tar.z", ".tar.lz", ".iso", ".dmg"): "extract it, and give the folder",
    (".001", ".z01", ".part1"): "join the parts of the archive, extract it, and give the folder",
    (".csv.gz", ".tsv.gz", ".jsonl.gz", ".csv.bz2", ".csv.zip"): "decompress the table first",
    (".feather", ".sqlite", ".db", ".accdb"): "save the table as CSV in UTF-8, or as Parquet",
    (".tfrecord", ".tfrecords", ".arrow", ".mdb"): "write its images as files, into a folder per"
    " class",
}


def is_pattern(text: str) -> bool:
    """Return whether a text is a pattern of file names such as ``photos/*.jpg``."""
    return "*" in text or "?" in text


def check_image_names(sources: Sequence[str | Path]) -> None:
    """Check that no image or source is an address (URL), or a pattern such as ``photos/*.jpg``.

    A file that does not exist is no error here.

    Raises:
        DataError: one is.
    """
    for source in map(str, sources):
        if source.startswith(PREFIXES) or is_sample_source(source) or is_remote(source):
            continue
        if os.path.lexists(source):
            continue
        if is_url(source) or is_pattern(source):
            raise missing_source(source)


def missing_source(source: str) -> DataError:
    """Return the error about a data source that does not exist."""
    if is_url(source):
        return DataError(
            f"{redacted(source)} is an address (URL) that is not read",
            hint="download it first; object stores are s3://, gs:// and az://",
        )
    if is_pattern(source):
        folder = re.split(r"[*?]", source)[0].rpartition("/")[0]
        return DataError(
            f"'{source}' is a pattern that the shell did not expand: it is in quotes, or no file "
            "matches it",
            hint=f"leave out the quotes, or give the folder: {folder or '.'}",
        )
    hint = "check the path for a typo"
    if source.startswith("~"):
        hint = "the shell replaces ~ by your home folder only at the start of a word without quotes"
    return DataError(f"there is no folder or file {source}", hint=hint)


def unsupported_file(path: Path) -> DataError:
    """Return the error about a file that is no source of images."""
    supported = (
        f"supported sources: folders, archives ({', '.join(ARCHIVES[:4])} …) and tables"
        f" ({', '.join(TABLES[:3])})"
    )
    name = path.name.lower()
    known = next((text for ends, text in _HINTS.items() if name.endswith(ends)), supported)
    hint = array_file_hint([path]) or known
    return DataError(f"{path} is a file, not a folder of images", hint=hint)
