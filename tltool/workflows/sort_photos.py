"""Put photos into a folder per class, as a model names them: copies or links, never the photos."""

from __future__ import annotations

import filecmp
import os
import re
import shutil
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from tltool.errors import EnvironmentProblem, UsageError
from tltool.workflows.predict import Prediction

UNSURE, UNKNOWN = "_unsure", "_unknown"
How = Literal["copy", "link"]


class PhotoSorter:
    """Places one photo after the other below a folder, and counts.

    A file of another content is never overwritten: the new one gets a number. A photo that is
    there already stays, so that a second run adds nothing.

    Args:
        folder: where the class folders are made.
        how: copy, or make symbolic links.
        unsure_below: photos whose best class is less probable go into ``_unsure``.
        sources: what the photos are taken from; ``folder`` may not lie inside.

    Raises:
        UsageError: ``folder`` is a file, or inside one of the sources.
    """

    def __init__(
        self, folder: Path, *, how: How, unsure_below: float, sources: Sequence[str]
    ) -> None:
        inside = [one for one in sources if _holds(Path(one), folder)]
        if inside:
            raise UsageError(
                f"--sort-into '{folder}' is inside '{inside[0]}', whose photos are sorted",
                hint="give a folder outside of it",
            )
        if folder.exists() and not folder.is_dir():
            raise UsageError(f"'{folder}' is a file, not a folder", hint="give another --sort-into")
        self.counts: Counter[str] = Counter()
        self._folder, self._how, self._unsure_below = folder, how, unsure_below

    def place(self, answer: Prediction) -> None:
        """Copy or link one photo; what has no answer is left alone.

        Raises:
            EnvironmentProblem: it cannot be written.
        """
        if answer.error is not None or answer.file is None:
            return
        name = self._folder_of(answer)
        try:
            (self._folder / name).mkdir(parents=True, exist_ok=True)
            self._put(answer.file, self._folder / name / answer.path.name)
        except OSError as error:
            raise EnvironmentProblem(
                f"'{answer.path}' cannot be put into '{self._folder / name}': {error.strerror}",
                hint="free some space or give another --sort-into; the photos are as they were",
            ) from None
        self.counts[name] += 1

    def _folder_of(self, answer: Prediction) -> str:
        if answer.is_known is False:
            return UNKNOWN
        best, confidence = answer.top[0]
        return UNSURE if confidence < self._unsure_below else folder_name(best)

    def _put(self, source: Path, wanted: Path) -> None:
        number, target = 1, wanted
        while os.path.lexists(target):
            if _same(source, target):
                return
            number += 1
            target = wanted.with_stem(f"{wanted.stem}-{number}")
        if self._how == "link":
            target.symlink_to(source.resolve())
            return
        # a copy that was cut short must not look like a photo
        part = target.with_name(f".{target.name}.part")
        shutil.copyfile(source, part)
        shutil.copystat(source, part)
        part.rename(target)


def folder_name(class_name: str) -> str:
    """Return a name of one folder for a class, whose name may hold anything."""
    plain = re.sub(r'[/\\:*?"<>|\x00-\x1f]', "_", class_name)
    return plain.strip(" .") or "_"


def _holds(source: Path, folder: Path) -> bool:
    return source.is_dir() and folder.resolve().is_relative_to(source.resolve())


def _same(source: Path, target: Path) -> bool:
    return target.is_file() and filecmp.cmp(source, target, shallow=False)
