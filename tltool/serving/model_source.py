"""Where the versions of a model lie. No framework is imported here."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from tltool.export.versions import versions

SAVED_MODEL_FILE = "saved_model.pb"


@dataclass(frozen=True)
class Source:
    """Where versions come from.

    Attributes:
        name: of the model, in addresses.
        folder: of the version folders; or the one SavedModel, if ``pinned``.
        pinned: the number of the only version to serve.
    """

    name: str
    folder: Path
    pinned: int | None = None

    def found(self) -> dict[int, Path]:
        """Return the folders of the versions by number, the newest first."""
        if self.pinned is not None:
            return {self.pinned: self.folder}
        numbers = reversed(versions(self.folder))
        paths = {number: self.folder / str(number) for number in numbers}
        return {n: path for n, path in paths.items() if (path / SAVED_MODEL_FILE).is_file()}
