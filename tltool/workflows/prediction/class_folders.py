"""Put images into a folder per class, as a model names them: copies or links, never the images."""

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

from tltool.errors import EnvironmentProblem, UsageError
from tltool.workflows.prediction.prediction import Prediction

UNSURE, UNKNOWN = "_unsure", "_unknown"
_LONGEST = 255  # bytes of a name, on nearly all file systems
How = Literal["copy", "link"]


@dataclass(frozen=True)
class Sorting:
    """How images are to be sorted.

    Attributes:
        folder: where the class folders are made.
        how: copy, or make symbolic links.
        unsure_below: images whose best class is less probable go into ``_unsure``.
    """

    folder: Path
    how: How
    unsure_below: float

    def check(self, sources: Sequence[str]) -> None:
        """Refuse a folder that cannot be meant.

        Raises:
            UsageError: it is a file, or inside one of the ``sources`` of the images.
        """
        inside = [one for one in sources if _holds(Path(one), self.folder)]
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
class _Namesakes:
    """The files of one name in one folder: their digests, and the number of the next."""

    digests: set[bytes] = field(default_factory=set)
    number: int = 1


class ImageSorter:
    """Places one image after the other below a folder, and counts.

    A file of another content is never overwritten: the new one gets a number. An image that is
    there already stays, so that a second run adds nothing.

    Args:
        sorting: where to, and how.
        class_names: of the model.
    """

    def __init__(self, sorting: Sorting, class_names: Sequence[str]) -> None:
        self.counts: Counter[str] = Counter()
        self.there_before = 0
        self._sorting = sorting
        self._folders = folder_names(class_names)
        self._namesakes: dict[Path, _Namesakes] = {}

    def place(self, answer: Prediction) -> None:
        """Copy or link one image; what has no answer is left alone.

        Raises:
            EnvironmentProblem: it cannot be written.
        """
        if answer.error is not None or answer.file is None:
            return
        name = self._folder_of(answer)
        folder = self._sorting.folder / name
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self.there_before += not self._put(answer.file, folder / answer.path.name)
        except OSError as error:
            raise EnvironmentProblem(
                f"'{answer.path}' cannot be put into '{folder}': {error.strerror}",
                hint="free some space or give another --sort-into; the images are as they were",
            ) from None
        self.counts[name] += 1

    def _folder_of(self, answer: Prediction) -> str:
        if answer.is_known is False:
            return UNKNOWN
        best, confidence = answer.top[0]
        return UNSURE if confidence < self._sorting.unsure_below else self._folders[best]

    def _put(self, source: Path, wanted: Path) -> bool:
        """Return whether the image was put there; not when it is there already."""
        target = wanted
        if os.path.lexists(wanted):
            others = self._namesakes.setdefault(wanted, _Namesakes())
            _look_on(others, wanted)
            digest = _digest(source)
            if digest in others.digests:
                return False
            others.digests.add(digest)
            target = _numbered(wanted, others.number)
            others.number += 1
        if self._sorting.how == "link":
            target.symlink_to(source.resolve())
        else:
            _copy(source, target)
        return True


def folder_names(class_names: Sequence[str]) -> dict[str, str]:
    """Return a name of one folder for each class, each another one, also where case is nothing.

    A class whose name can be a folder's keeps it; others, and ``_unsure`` and ``_unknown``, which
    mean something else, get a number.
    """
    plain = {name: folder_name(name) for name in class_names}
    taken, found = {UNSURE, UNKNOWN}, {}
    for name in sorted(class_names, key=lambda name: plain[name] != name):
        number, folder = 1, plain[name]
        while folder.casefold() in taken:
            number += 1
            folder = f"{plain[name]}-{number}"
        taken.add(folder.casefold())
        found[name] = folder
    return found


def folder_name(class_name: str) -> str:
    """Return a name of one folder for a class, whose name may hold anything."""
    plain = re.sub(r'[/\\:*?"<>|\x00-\x1f]', "_", class_name)
    return _cut(plain.strip(" .") or "_", _LONGEST - 8)


def _look_on(others: _Namesakes, wanted: Path) -> None:
    """Read what lies at ``wanted`` and its numbers beyond those known: each file once."""
    while os.path.lexists(path := _numbered(wanted, others.number)):
        if path.is_file():
            others.digests.add(_digest(path))
        others.number += 1


def _numbered(wanted: Path, number: int) -> Path:
    if number == 1:
        return wanted
    suffix = wanted.suffix if len(os.fsencode(wanted.suffix)) < _LONGEST // 2 else ""
    ending = f"-{number}{suffix}"
    stem = wanted.name.removesuffix(suffix)
    return wanted.with_name(_cut(stem, _LONGEST - len(os.fsencode(ending))) + ending)


def _cut(name: str, most: int) -> str:
    """Return the beginning of a name, ``most`` bytes long at most, without half a character."""
    content = os.fsencode(name)
    if len(content) <= most:
        return name
    return content[:most].decode(errors="ignore")


def _copy(source: Path, target: Path) -> None:
    # a copy that was cut short must not look like an image
    with tempfile.NamedTemporaryFile(
        dir=target.parent, prefix=".", suffix=".part", delete=False
    ) as file:
        part = Path(file.name)
    try:
        shutil.copyfile(source, part)
        shutil.copystat(source, part)
        part.rename(target)
    finally:
        part.unlink(missing_ok=True)


def _digest(file: Path) -> bytes:
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").digest()


def _holds(source: Path, folder: Path) -> bool:
    return source.is_dir() and folder.resolve().is_relative_to(source.resolve())
