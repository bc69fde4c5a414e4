"""Copy a model from Google Cloud Storage, where Vertex AI keeps it."""

from __future__ import annotations

import os
import posixpath
from pathlib import Path

from tltool.errors import DataError, EnvironmentProblem, first_line, one_line

SCHEME = "gs://"


def is_remote(model: str | Path | None) -> bool:
    """Return whether ``model`` is a gs:// address."""
    return isinstance(model, str) and model.startswith(SCHEME)


def copy_model(address: str, target: Path) -> int:
    """Copy the folder at ``address`` into ``target``; return the number of files.

    TensorFlow takes the credentials of the machine's service account, or those of
    GOOGLE_APPLICATION_CREDENTIALS.

    Args:
        address: of a folder, such as gs://BUCKET/digits.
        target: a folder on this machine.

    Raises:
        DataError: there is no file at ``address``.
        EnvironmentProblem: it cannot be read, or ``target`` cannot be written.
    """
    os.environ.setdefault("GCS_RETRY_CONFIG_MAX_RETRIES", "4")  # by default minutes pass
    import tensorflow as tf

    folder = address.rstrip("/")
    count = 0
    try:
        for parent, _, names in tf.io.gfile.walk(folder, onerror=_raise):
            local = target / _relative(parent, folder)
            local.mkdir(parents=True, exist_ok=True)
            for name in filter(None, names):
                tf.io.gfile.copy(posixpath.join(parent, name), str(local / name), overwrite=True)
                count += 1
    except (tf.errors.OpError, OSError) as error:
        raise EnvironmentProblem(
            f"the model '{one_line(address)}' cannot be copied to this machine: "
            f"{first_line(error)}",
            hint="check the address, the network and the permissions of the service account",
        ) from None
    if not count:
        raise DataError(
            f"there is no file below '{one_line(address)}'",
            hint="give the folder of the versions, as in gs://BUCKET/saved_models/digits",
        )
    return count


def _raise(error: Exception) -> None:
    """Raise an error of a listing, which ``walk`` ignores otherwise."""
    raise error


def _relative(parent: str, folder: str) -> str:
    """Return the path of ``parent`` below ``folder``.

    Raises:
        OSError: an object has a name that would leave the folder.
    """
    relative = parent[len(folder) :].strip("/")
    if ".." in relative.split("/"):
        raise OSError(f"the name '{relative}' leaves the folder")
    return relative
