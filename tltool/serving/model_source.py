"""Where the server finds the versions of a model. No framework is imported here."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from tltool.export.versions import versions

SAVED_MODEL_FILE = "saved_model.pb"


@dataclass(frozen=True)
class ModelSource:
    """The folder with the versions of a model.

    Attributes:
        name: of the model, in URLs.
        folder: of the version folders; if ``pinned``, the one SavedModel.
        pinned: number of the only version to serve; None to serve the newest version.
    """

    name: str
    folder: Path
    pinned: int | None = None

    def versions(self) -> dict[int, Path]:
        """Return the version folders by number, the newest first."""
        if self.pinned is not None:
            return {self.pinned: self.folder}
        numbers = reversed(versions(self.folder))
        paths = {number: self.folder / str(number) for number in numbers}
        return {n: path for n, path in paths.items() if (path / SAVED_MODEL_FILE).is_file()}
