"""The processes that train one model together, as the environment variable TF_CONFIG names them."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from typing import Any

from tltool.errors import UsageError

_HINT = (
    'set it to {"cluster": {"worker": ["HOST:PORT", ...]}, '
    '"task": {"type": "worker", "index": NUMBER}}, or unset it'
)


@dataclass(frozen=True)
class Peers:
    """Several processes, on one machine or several, and which of them this one is.

    Attributes:
        addresses: HOST:PORT of each process.
        rank: position of this process in ``addresses``; the first one writes the run folder.
    """

    addresses: tuple[str, ...]
    rank: int

    @property
    def writes(self) -> bool:
        """Whether this is the process that writes the run folder and the export."""
        return self.rank == 0

    @property
    def address(self) -> str:
        """HOST:PORT of this process."""
        return self.addresses[self.rank]


def read_peers() -> Peers | None:
    """Return what TF_CONFIG says; None without it, and where it names a single process.

    Raises:
        UsageError: it is malformed.
    """
    text = os.environ.get("TF_CONFIG", "").strip()
    if not text:
        return None
    try:
        document = json.loads(text)
    except ValueError:
        raise UsageError("the environment variable TF_CONFIG is not JSON", hint=_HINT) from None
    if not isinstance(document, dict):
        raise UsageError("the environment variable TF_CONFIG is no JSON object", hint=_HINT)
    cluster = document.get("cluster")
    if not cluster:
        return None
    return _checked(cluster, document.get("task"))


def _checked(cluster: Any, task: Any) -> Peers | None:
    if not isinstance(cluster, dict) or not cluster.keys() <= {"chief", "worker"}:
        raise _malformed("its entry cluster must have the keys worker and chief and no other")
    chief, workers = (_addresses(cluster, kind) for kind in ("chief", "worker"))
    addresses = [*chief, *workers]  # a chief is the first worker
    if not addresses or len(chief) > 1:
        raise _malformed("its entry cluster must have workers, and at most one chief")
    if len(set(addresses)) < len(addresses):
        raise _malformed("its entry cluster names an address twice")
    kind = task.get("type") if isinstance(task, dict) else None
    if kind not in ("worker", "chief") or (kind == "chief" and not chief):
        raise _malformed("its entry task.type must be worker, or chief if the cluster has one")
    count = len(chief) if kind == "chief" else len(workers)
    index = str(task.get("index"))  # some launchers write a number as text
    if not (index.isascii() and index.isdecimal() and int(index) < count):
        raise _malformed(f"its entry task.index must be a number below {count}")
    rank = int(index) + (len(chief) if kind == "worker" else 0)
    return Peers(tuple(addresses), rank) if len(addresses) > 1 else None


def _addresses(cluster: dict[str, Any], kind: str) -> list[str]:
    addresses = cluster.get(kind, [])
    if not isinstance(addresses, list) or not all(map(_is_address, addresses)):
        raise _malformed(f"its entry cluster.{kind} must be a list of HOST:PORT")
    return addresses


def _is_address(value: Any) -> bool:
    host, colon, port = value.rpartition(":") if isinstance(value, str) else ("", "", "")
    return bool(host and colon and port.isascii() and port.isdecimal() and 0 < int(port) < 65536)


def _malformed(reason: str) -> UsageError:
    return UsageError(f"the environment variable TF_CONFIG cannot be used: {reason}", hint=_HINT)


def check_single_process(command: str) -> None:
    """Check that a command which trains in one process is not started as one of several.

    Args:
        command: its name, for the message.

    Raises:
        UsageError: TF_CONFIG names several processes, or is malformed.
    """
    peers = read_peers()
    if peers is not None:
        raise UsageError(
            f"{command} works in one process, but TF_CONFIG names {len(peers.addresses)} workers",
            hint="unset TF_CONFIG; `tltool finetune` can train on several workers",
        )
