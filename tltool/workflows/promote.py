"""Make a version of a model the one that is served: a switch to it, or back to an earlier one."""

from __future__ import annotations

import shutil
from pathlib import Path

from tltool.errors import DataError, UsageError
from tltool.export.model_folder import class_names_of, sealed_folder
from tltool.export.seal import check_seal
from tltool.export.versions import check_base, publish, staging, versions


def promote(version: Path | str, target: Path | str) -> Path:
    """Copy a version as the next version of a model, and return the new version folder.

    A server of ``target`` serves its newest version, so it switches within seconds and finishes
    running requests with the one before. Nothing is changed or removed: to go back, promote the
    earlier version again.

    Args:
        version: a version folder, or the folder of a model, whose newest version is meant.
        target: the folder of the model that is served.

    Raises:
        UsageError: a folder does not exist.
        DataError: ``version`` is no export, is the newest version already, or has other classes.
        GateError: a file of it has changed since the export.
        EnvironmentProblem: the copy cannot be written.

    Examples:
        >>> promote("saved_models/fruit/1", "saved_models/fruit")
        PosixPath('saved_models/fruit/3')
    """
    source, base = sealed_folder(Path(version)), Path(target)
    if not base.is_dir() or not versions(base):
        raise UsageError(
            f"'{base}' is no folder of a model with versions",
            hint="give the folder that the server serves, such as saved_models/NAME",
        )
    check_base(base)
    newest = base / str(versions(base)[-1])
    if source.resolve() == newest.resolve():
        raise DataError(
            f"'{source}' is the newest version already, which the server serves",
            hint=f"ls {base} lists the others",
        )
    before, after = class_names_of(newest), class_names_of(source)
    if before != after:
        raise DataError(
            f"'{source}' has other classes than '{newest}', which clients expect",
            hint=f"serve it under its own name: tltool serve {source}",
        )
    check_seal(source)
    from tltool.export.disk import explain_disk_errors  # loads TensorFlow, which takes seconds

    with explain_disk_errors(base), staging(base) as staged:
        shutil.copytree(source, staged)
        check_seal(staged)  # as it was read: the version may have changed meanwhile
        return publish(staged, base)
