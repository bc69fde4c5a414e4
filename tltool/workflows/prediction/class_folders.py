"""Sort images into one folder per predicted class, as copies or links."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import tempfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from tltool.data.decoding.image_file import read_image_file
from tltool.errors import EnvironmentProblem, UsageError
from tltool.storage.durable import publish_new
from tltool.workflows.prediction.prediction import Prediction

UNSURE, UNKNOWN = "_unsure", "_unknown"
_MAX_NAME_BYTES = 255  # on almost all file systems
How = Literal["copy", "link"]


@dataclass(frozen=True)
class ClassFolders:
    """Where and how to sort images.

    Attributes:
        folder: where the class folders are created.
        how: copy, or create symbolic links.
        unsure_below: images with a lower confidence go into ``_unsure``.
    """

    folder: Path
    how: How
    unsure_below: float

    def check(self, sources: Sequence[Path | str]) -> None:
        """Check the folder.

        Raises:
            UsageError: it is a file, or inside one of the ``sources`` of the images.
        """
        inside = [one for one in sources if _contains(Path(one), self.folder)]
        if inside:
            raise UsageError(
                f"--sort-into '{self.folder}' is inside '{inside[0]}', whose images are sorted",
                hint="give a folder outside of it",
            )
        if self.folder.exists() and not self.folder.is_dir():
            raise UsageError(
                f"'{self.folder}' is a file, not a folder", hint="give another --sort-into"
            )


@dataclass
class _SameName:
    """The files of one name in one folder: their digests, and the number of the next."""

    digests: set[bytes] = field(default_factory=set)
    number: int = 1


class ImageSorter:
    """Sorts images one by one and counts them.

    A file with other content is never overwritten: the new one gets a number. An image that is
    already there is not added again, so a second run adds nothing.

    Args:
        class_folders: where and how.
        class_names: of the model.
    """

    def __init__(self, class_folders: ClassFolders, class_names: Sequence[str]) -> None:
        self.counts: Counter[str] = Counter()
        self.already_present = 0
        self._class_folders = class_folders
        self._folder_names = folder_names(class_names)
        self._same_names: dict[Path, _SameName] = {}

    def place(self, prediction: Prediction) -> None:
        """Copy or link one image; an image without a prediction is left out.

        Raises:
            EnvironmentProblem: it cannot be written.
        """
        if prediction.error is not None or prediction.file is None:
            return
        name = self._folder_of(prediction)
        folder = self._class_folders.folder / name
        try:
            folder.mkdir(parents=True, exist_ok=True)
            added = self._add(prediction.file, folder / Path(prediction.path).name)
            self.already_present += not added
        except OSError as error:
            raise EnvironmentProblem(
                f"'{prediction.path}' cannot be put into '{folder}': {error.strerror}",
                hint="free some space or give another --sort-into; the images are unchanged",
            ) from None
        self.counts[name] += 1

    def _folder_of(self, prediction: Prediction) -> str:
        if prediction.is_known is False:
            return UNKNOWN
        best, confidence = prediction.top[0]
        unsure = confidence < self._class_folders.unsure_below
        return UNSURE if unsure else self._folder_names[best]

    def _add(self, source: Path, target: Path) -> bool:
        """Return whether the image was added; False if it is already there."""
        while True:
            place, same_name = target, None
            if os.path.lexists(target):
                same_name = self._same_names.setdefault(target, _SameName())
                _read_digests(same_name, target)
                digest = _digest(source)
                if digest in same_name.digests:
                    return False
                place = _numbered(target, same_name.number)
            try:
                self._put(source, place)
            except FileExistsError:  # another process has just taken the name
                continue
            if same_name is not None:
                same_name.digests.add(digest)
                same_name.number += 1
            return True

    def _put(self, source: Path, place: Path) -> None:
        if self._class_folders.how == "link":
            place.symlink_to(source.resolve())
        else:
            _copy(source, place)


def folder_names(class_names: Sequence[str]) -> dict[str, str]:
    """Return a different folder name for each class, also on case-insensitive file systems.

    A class name that is a valid folder name is kept; others get a number if necessary, as do
    ``_unsure`` and ``_unknown``, which are reserved.
    """
    valid = {name: folder_name(name) for name in class_names}
    taken, folders = {UNSURE, UNKNOWN}, {}
    for name in sorted(class_names, key=lambda name: valid[name] != name):
        number, folder = 1, valid[name]
        while folder.casefold() in taken:
            number += 1
            folder = f"{valid[name]}-{number}"
        taken.add(folder.casefold())
        folders[name] = folder
    return folders


def folder_name(class_name: str) -> str:
    """Return a valid folder name for any class name."""
    valid = re.sub(r'[/\\:*?"<>|\x00-\x1f]', "_", class_name)
    return _cut(valid.strip(" .") or "_", _MAX_NAME_BYTES - 8)


def _read_digests(same_name: _SameName, target: Path) -> None:
    """Read the digests of ``target`` and its numbered names, each file once."""
    while os.path.lexists(path := _numbered(target, same_name.number)):
        if path.is_file():
            same_name.digests.add(_digest(path))
        same_name.number += 1


def _numbered(path: Path, number: int) -> Path:
    if number == 1:
        return path
    suffix = path.suffix if len(os.fsencode(path.suffix)) < _MAX_NAME_BYTES // 2 else ""
    ending = f"-{number}{suffix}"
    stem = path.name.removesuffix(suffix)
    return path.with_name(_cut(stem, _MAX_NAME_BYTES - len(os.fsencode(ending))) + ending)


def _cut(name: str, size: int) -> str:
    """Return the first characters of a name, at most ``size`` bytes."""
    content = os.fsencode(name)
    if len(content) <= size:
        return name
    return content[:size].decode(errors="ignore")


def _copy(source: Path, target: Path) -> None:
    # an interrupted copy must not look like an image
    with tempfile.NamedTemporaryFile(
        dir=target.parent, prefix=".", suffix=".part", delete=False
    ) as file:
        part = Path(file.name)
    try:
        shutil.copyfile(source, part)
        shutil.copystat(source, part)
        publish_new(part, target)
    finally:
        part.unlink(missing_ok=True)


def _digest(file: Path) -> bytes:
    return hashlib.sha256(read_image_file(file)).digest()


def _contains(source: Path, folder: Path) -> bool:
    return source.is_dir() and folder.resolve().is_relative_to(source.resolve())
