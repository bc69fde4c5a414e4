"""Whether the network may be used."""

from __future__ import annotations

import os


def is_offline() -> bool:
    """Whether ``TLTOOL_OFFLINE`` forbids the network."""
    return os.environ.get("TLTOOL_OFFLINE", "").lower() not in ("", "0", "false", "no")
