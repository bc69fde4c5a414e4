"""Where the server finds the versions of a model. No framework is imported here."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from tltool.errors import DataError
from tltool.export.model_folder import SAVED_MODEL_FILE
from tltool.export.versions import versions

Stamp = tuple[tuple[str, int, int], ...]
"""Names, sizes and times of the files of a version."""


@dataclass(frozen=True)
class ModelSource:
    """The folder with the versions of a model.

    Attributes:
        name: of the model, in URLs.
        folder: of the version folders; if ``pinned``, the one SavedModel.
        pinned: number of the only version to serve; None to serve the newest version.
        trust: load versions without a check of their files and operations.
    """

    name: str
    folder: Path
    pinned: int | None = None
    trust: bool = False

    def versions(self) -> dict[int, Path]:
        """Return the version folders by number, the newest first."""
        if self.pinned is not None:
            return {self.pinned: self.folder}
        numbers = reversed(versions(self.folder))
        paths = {number: self.folder / str(number) for number in numbers}
        return {n: path for n, path in paths.items() if (path / SAVED_MODEL_FILE).is_file()}

    def check(self) -> None:
        """Check that there is a version to serve.

        Raises:
            DataError: there is none.
        """
        if not self.versions():
            raise DataError(
                f"'{self.folder}' has no version to serve: it contains no numbered folder with "
                f"{SAVED_MODEL_FILE}",
                hint="give the folder that `tltool export` or `tltool finetune` wrote to",
            )


def stamp_of(folder: Path) -> Stamp:
    """Return the stamp of a version, which changes while a copy is in progress."""
    try:
        return tuple(
            sorted(
                (str(path.relative_to(folder)), status.st_size, status.st_mtime_ns)
                for path in folder.rglob("*")
                if (status := path.stat()) and path.is_file()
            )
        )
    except OSError:
        return ()
