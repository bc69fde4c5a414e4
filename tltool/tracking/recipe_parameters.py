"""The keys of a recipe as parameters of a tracker."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any


def flattened(settings: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, str]]:
    """Yield the keys of a recipe, such as ``train.head.epochs``, with their values as text."""
    for key, value in settings.items():
        if isinstance(value, Mapping):
            yield from flattened(value, f"{above}{key}.")
        else:
            yield f"{above}{key}", value if isinstance(value, str) else json.dumps(value)
