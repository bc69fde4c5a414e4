"""The corrections of labels of a run: a copy lies in the run folder."""

from __future__ import annotations

import shutil
from collections.abc import Collection
from dataclasses import replace
from pathlib import Path

from tltool.data.corrections.apply import Corrections, load_corrections
from tltool.errors import EnvironmentProblem, GateError
from tltool.runs.digests import file_digest
from tltool.runs.layout import RunLayout
from tltool.runs.manifest import Manifest
from tltool.runs.run_options import RunOptions
from tltool.storage.durable import replaced_file


def corrections_of(options: RunOptions, layout: RunLayout | None = None) -> Corrections | None:
    """Return the corrections that a run is called with: from its own copy where there is one.

    Raises:
        UsageError: there is no such file.
        DataError: it is damaged, or people disagree in it.
    """
    if options.corrections is None:
        return None
    copy = layout.corrections if layout is not None else None
    file = copy if copy is not None and copy.is_file() else options.corrections
    return load_corrections(file, prefer=options.corrections_by)


def check_corrections(options: RunOptions, class_names: Collection[str] | None) -> None:
    """Check a file of corrections before any image is opened.

    Args:
        options: what a run is called with.
        class_names: of the data; None where they are not known yet.

    Raises:
        UsageError: there is no such file.
        DataError: it is damaged, people disagree, or it names a class that the data do not have.
    """
    corrections = corrections_of(options)
    if corrections is not None and class_names is not None:
        corrections.check_classes(class_names)


def keep_corrections(layout: RunLayout, file: Path | None) -> None:
    """Copy the corrections into the run folder: the file of the user may grow meanwhile.

    Raises:
        EnvironmentProblem: it cannot be copied.
    """
    if file is None:
        return
    try:
        with replaced_file(layout.corrections) as part:
            shutil.copyfile(file, part)
    except OSError as error:
        raise EnvironmentProblem(
            f"'{file}' cannot be copied into the run folder: {error.strerror}"
        ) from None


def with_kept_corrections(options: RunOptions, layout: RunLayout, manifest: Manifest) -> RunOptions:
    """Return options with the corrections that an earlier run has kept.

    Raises:
        GateError: they are gone or have changed since.
    """
    recorded = manifest.corrections
    if recorded is None:
        return options
    copy = layout.corrections
    if not copy.is_file() or file_digest(copy) != recorded["sha256"]:
        raise GateError(
            f"the corrections of the run, '{copy}', are gone or have changed since the run",
            hint=f"restore the file, whose SHA-256 is {recorded['sha256']}",
        )
    by = manifest.options.corrections_by
    return replace(options, corrections=copy, corrections_by=by)
