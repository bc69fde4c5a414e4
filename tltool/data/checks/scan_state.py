"""What a scan finds out about files, gathered in any order, also from other processes."""

from __future__ import annotations

import sys
from array import array
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tltool.data.catalog import Item
from tltool.data.checks.file_properties import FEATURES
from tltool.data.checks.findings import Finding
from tltool.data.item_columns import ItemColumns

_FACTS = (
    "sha256", "width", "height", "format", "orientation", "brightness", "sharpness",
    "perceptual_hash",
)  # fmt: skip


@dataclass
class Scan:
    """The result of a scan.

    Attributes:
        items: the usable ones, audited, in the order of the source.
        features: float32 [N, len(FEATURES)], a row for each of ``items``.
        cameras: make and model for each of ``items``, ``""`` if unknown.
        findings: about single files.
        bytes: size of all usable files.
        files: the number of all files, also unusable ones.
        labels: of all files.
    """

    items: ItemColumns
    features: NDArray[np.float32]
    cameras: list[str]
    findings: list[Finding]
    bytes: int
    files: int
    labels: frozenset[str]


class ScanState:
    """What is known of each file so far.

    Args:
        items: the files; the facts of each are added when it has been audited.
    """

    def __init__(self, items: ItemColumns) -> None:
        self.items = items
        self._labels = frozenset(items.classes())
        # arrays of a few bytes per file: a dictionary would take a hundred
        self._usable = np.zeros(len(items), np.bool_)
        self._features = np.zeros((len(items), len(FEATURES)), np.float32)
        self._cameras: dict[int, str] = {}
        self._findings: list[Finding] = []
        self._found_in = array("q")  # the position of the file of each finding
        self._bytes = 0

    def keep(
        self, index: int, item: Item, *, features: NDArray[np.float32], camera: str, size: int
    ) -> None:
        """Add a usable file.

        Args:
            index: its position.
            item: audited.
            features: its properties, float32 [len(FEATURES)].
            camera: make and model, ``""`` if unknown.
            size: in bytes.
        """
        self._features[index] = features
        self.items.set_facts(index, item)
        self._usable[index] = True
        if camera:
            self._cameras[index] = sys.intern(camera)
        self._bytes += size

    def add_finding(self, index: int, finding: Finding) -> None:
        """Add a finding about the file at a position."""
        self._findings.append(finding)
        self._found_in.append(index)

    def remaining(self) -> list[int]:
        """Return the positions of files that were neither decoded nor rejected."""
        known = self._usable.copy()
        known[np.array(self._found_in, np.int64)] = True
        unknown: list[int] = np.flatnonzero(~known).tolist()
        return unknown

    def result(self) -> Scan:
        """Return everything in the order of the items."""
        usable = np.flatnonzero(self._usable).tolist()
        by_file = np.argsort(np.array(self._found_in, np.int64), kind="stable")
        return Scan(
            items=self.items if len(usable) == len(self.items) else self.items.select(usable),
            features=self._features[self._usable],
            cameras=[self._cameras.get(index, "") for index in usable],
            findings=[self._findings[number] for number in by_file.tolist()],
            bytes=self._bytes,
            files=len(self.items),
            labels=self._labels,
        )

    def to_json(self) -> dict[str, Any]:
        """Return all that is known of the files, for ``add_part`` of another process."""
        usable = np.flatnonzero(self._usable).tolist()
        findings = [
            [index, one.kind, one.detail, one.suggestion, one.severity]
            for index, one in zip(self._found_in, self._findings, strict=True)
        ]
        return {
            "usable": usable,
            "facts": [_facts(self.items[index]) for index in usable],
            "features": self._features[usable].tolist(),
            "cameras": [self._cameras.get(index, "") for index in usable],
            "findings": findings,
            "bytes": self._bytes,
        }

    def add_part(self, start: int, part: Mapping[str, Any]) -> None:
        """Add what another process knows of the files from a position on.

        Args:
            start: position of the first one.
            part: what its ``to_json`` returned.
        """
        rows = zip(part["usable"], part["facts"], part["features"], part["cameras"], strict=True)
        for number, facts, features, camera in rows:
            index = start + number
            item = replace(self.items[index], **dict(zip(_FACTS, facts, strict=True)))
            values = np.array(features, np.float32)
            self.keep(index, item, features=values, camera=camera, size=0)
        for number, kind, detail, suggestion, severity in part["findings"]:
            path = self.items[start + number].path
            finding = Finding(path, kind, sys.intern(detail), sys.intern(suggestion), severity)
            self.add_finding(start + number, finding)
        self._bytes += part["bytes"]


def _facts(item: Item) -> list[Any]:
    return [getattr(item, name) for name in _FACTS]
