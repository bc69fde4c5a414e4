"""The user's folder for what can be fetched or computed again, also for a user without a home."""

from __future__ import annotations

import os
import stat
import tempfile
from pathlib import Path

import platformdirs

from tltool.errors import EnvironmentProblem


def user_cache(part: str, *, variable: str) -> Path:
    """Return the folder named by an environment variable, else ``part`` of the user's cache.

    A user without a home, as the arbitrary user of a container, has the cache
    ``tltool-<user id>`` in the folder for temporary files. It is not made here.

    Args:
        part: name of a folder in the cache.
        variable: environment variable that names another folder.

    Raises:
        EnvironmentProblem: the variable names a file; or there is no home, and that folder belongs
            to someone else.
    """
    chosen = os.environ.get(variable)
    if chosen:
        if os.path.isfile(chosen):  # noqa: PTH113  (Path.is_file raises without permission)
            raise EnvironmentProblem(
                f"{variable} names the file '{chosen}', and has to name a folder",
                hint=f"set {variable} to a folder, or unset it",
            )
        return Path(chosen)
    try:
        folder = Path(platformdirs.user_cache_dir("tltool"))
    except RuntimeError:  # no HOME, and the user id has no entry in the table of users
        folder = Path()
    if not folder.is_absolute():
        folder = _temporary(variable)
    return folder / part


def _temporary(variable: str) -> Path:
    folder = Path(tempfile.gettempdir()) / f"tltool-{os.getuid()}"
    try:
        found = folder.lstat()
    except OSError:
        return folder
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid():
        raise EnvironmentProblem(
            f"there is no home folder, and '{folder}' belongs to someone else",
            hint=f"set HOME, or set {variable} to a folder of your own",
        )
    return folder
