"""The errors of object stores, as sentences for people."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator

from tltool.errors import EnvironmentProblem, TltoolError, first_line
from tltool.storage.address import Address, redacted

_LOCAL = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)  # of a file on this machine
_LIBRARIES = {
    *("botocore", "aiobotocore", "s3fs", "gcsfs", "adlfs", "azure", "google", "fsspec"),
    *("aiohttp", "requests", "urllib3", "asyncio"),
}
_HINTS = {
    "s3": "set AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY; a public bucket:"
    " FSSPEC_S3_ANON=true",
    "gs": "gcloud auth application-default login, or set GOOGLE_APPLICATION_CREDENTIALS",
    "az": "set AZURE_STORAGE_CONNECTION_STRING, or AZURE_STORAGE_ACCOUNT_NAME and a key",
}
_ENDPOINT = {"s3": " and AWS_ENDPOINT_URL", "gs": " and STORAGE_EMULATOR_HOST"}
_SETTINGS = {
    "s3": "set AWS_ENDPOINT_URL to a whole address, such as https://HOST:PORT, or unset it; check"
    " AWS_DEFAULT_REGION too",
    "gs": "check STORAGE_EMULATOR_HOST and GOOGLE_APPLICATION_CREDENTIALS",
    "az": "copy AZURE_STORAGE_CONNECTION_STRING again from the portal, or unset it",
}


def store_problem(error: Exception, address: Address) -> TltoolError | None:
    """Return the error for the user; None for one that is no error of the store."""
    if isinstance(error, OSError) and is_local(error):
        return None
    names = [type(each).__name__ for each in _causes(error)]
    if any("Credential" in name or "Auth" in name for name in names):
        return EnvironmentProblem(
            f"{address}: there are no valid credentials ({_reason(error)})",
            hint=_HINTS.get(address.scheme),
        )
    if isinstance(error, PermissionError) or _code(error) in ("401", "403"):
        return EnvironmentProblem(
            f"access to {address} is refused: {_reason(error)}", hint=_HINTS.get(address.scheme)
        )
    if isinstance(error, TimeoutError | ConnectionError) or any(map(_is_connection, names)):
        return EnvironmentProblem(
            f"{address} does not answer: {_reason(error)}",
            hint=f"check the network{_ENDPOINT.get(address.scheme, '')}",
        )
    if isinstance(error, OSError) or type(error).__module__.partition(".")[0] in _LIBRARIES:
        return EnvironmentProblem(f"{address}: the storage reports: {_reason(error)}")
    return None


def wrong_settings(error: ValueError, address: Address) -> EnvironmentProblem:
    """Return the error about settings of a store that its library refuses, as an endpoint."""
    return EnvironmentProblem(
        f"{address} cannot be opened with the settings of this environment: {_reason(error)}",
        hint=_SETTINGS.get(address.scheme),
    )


def is_local(error: OSError) -> bool:
    """Whether an error is of a file on this machine; stores name objects without a slash first."""
    return error.errno in _LOCAL or (
        isinstance(error.filename, str) and os.path.isabs(error.filename)  # noqa: PTH117
    )


def missing_bucket(address: Address) -> EnvironmentProblem:
    """Return the error about a bucket that does not exist."""
    return EnvironmentProblem(
        f"there is no bucket '{address.bucket}' ({address})",
        hint="check its name, and the account and region of the credentials",
    )


def is_missing_bucket(error: Exception) -> bool:
    """Whether a store says that the bucket does not exist, not only the object."""
    return _code(error) in ("NoSuchBucket", "ContainerNotFound")


def is_after_end(error: Exception) -> bool:
    """Whether a store says that a range of bytes starts after the end of the object."""
    return _code(error) in ("InvalidRange", "416")


def is_conflict(error: Exception) -> bool:
    """Whether a store says that there is an object, or that another writer is making it."""
    conflicts = ("PreconditionFailed", "ConditionalRequestConflict", "409", "412")
    return _code(error) in conflicts or isinstance(error, FileExistsError)


def _code(error: Exception) -> str:
    """Return the code of a store's answer, of whatever library; empty if there is none."""
    for each in _causes(error):
        response = getattr(each, "response", None)
        if isinstance(response, dict):
            return str(response.get("Error", {}).get("Code", ""))
        for name in ("error_code", "code", "status_code", "status"):
            if value := getattr(each, name, None):
                return str(getattr(value, "value", value))
    return ""


def _causes(error: BaseException) -> Iterator[BaseException]:
    each: BaseException | None = error
    while each is not None:
        yield each
        each = each.__cause__


def _is_connection(name: str) -> bool:
    return "Timeout" in name or "Connect" in name


def _reason(error: Exception) -> str:
    text = redacted(first_line(error)).rstrip(".")
    return text if text != "FSTimeoutError" else "no answer within 15 seconds"
