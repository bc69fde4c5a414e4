"""Settings of layers in a weights file beside their arrays, to find another network in it.

A ResNet with another stride has the same names and shapes; only a file of the whole model shows it.
"""

from __future__ import annotations

import json
import math
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

_COMPARED = ("strides", "dilation_rate", "epsilon")
_MAX_BYTES = 64 * 2**20  # of a description of layers


def different_setting(path: Path, layers: Mapping[str, Mapping[str, Any]]) -> str | None:
    """Return in what a file of a whole model differs from a network; None if nothing is known.

    Args:
        path: a weights file; only ``.keras`` files and whole models in ``.h5`` hold settings.
        layers: settings of the network's layers, as ``get_config`` returns them, by name.
    """
    for name, config in _layer_configs(_description(path)):
        expected = layers.get(name, {})
        for key in _COMPARED:
            here, there = _plain(config.get(key)), _plain(expected.get(key))
            if None not in (here, there) and not _same(here, there):
                return f"layer '{name}' has {key} {here} in the file and {there} in the network"
    return None


def _description(path: Path) -> Any:
    """Return the description of a whole model; None if the file holds only arrays."""
    try:
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                if archive.getinfo("config.json").file_size > _MAX_BYTES:
                    return None
                return json.loads(archive.read("config.json"))
        import h5py

        with h5py.File(path, "r") as file:
            return json.loads(file.attrs["model_config"])
    except (OSError, KeyError, ValueError, RuntimeError, zipfile.BadZipFile):
        return None


def _layer_configs(description: Any) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield the name and the settings of every layer, those of models inside too."""
    waiting = [description]
    while waiting:
        one = waiting.pop()
        if isinstance(one, dict):
            config = one.get("config")
            if isinstance(config, dict) and isinstance(config.get("name"), str):
                yield config["name"], config
            waiting += one.values()
        elif isinstance(one, list):
            waiting += one


def _plain(value: Any) -> Any:
    """Return a list without difference of 2 and [2, 2]."""
    if isinstance(value, list | tuple):
        return [*value] if len({*value}) > 1 else value[0] if value else None
    return value


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, float) and isinstance(other, float):
        return math.isclose(one, other, rel_tol=0.01)
    return bool(one == other)
