"""Separates segmentation masks from the images of a class."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Sequence
from pathlib import Path

from tltool.data.sources.folders.folder_names import is_annotation_name, is_image_folder_name

_PREFIX = re.compile(r"^(masks?|seg|segmentation|gt|labels?|annotation)[ _.-]+", re.IGNORECASE)
_SUFFIX = re.compile(
    r"[ _.-]+(masks?|seg|segmentation|gt|ground[ _-]?truth|labels?|annotation|matte|trimap)"
    r"([ _-]?\d+)?$",
    re.IGNORECASE,
)


def separate_masks(paths: Sequence[Path], folder: Path) -> tuple[list[Path], list[Path]]:
    """Return the images and the segmentation masks among the files of a class.

    A mask is in a folder named ``masks``, ``labels``, ``ground_truth`` or the like, beside a folder
    named ``images`` or with the names of images outside of it; or it is named after an image in its
    folder, as ``1_mask.png`` is after ``1.png``.

    Args:
        paths: files below ``folder``.
        folder: of the class.

    Examples:
        >>> cat = Path("cat")
        >>> separate_masks([cat / "1.jpg", cat / "1_mask.png"], cat)[1] == [cat / "1_mask.png"]
        True
    """
    # strings, because a data set may have a million files
    start = len(os.fspath(folder)) + 1
    split = [os.path.split(os.fspath(path)[start:]) for path in paths]
    places = [place for place, _ in split]
    stems = [os.path.splitext(name)[0] for _, name in split]  # noqa: PTH122
    masks = _in_mask_folders(places, stems)
    files = list(zip(places, stems, strict=True))
    images = {file for file, mask in zip(files, masks, strict=True) if not mask}
    for index, (place, stem) in enumerate(files):
        base = _without_mark(stem)
        masks[index] |= base != stem and (place, base) in images
    return (
        [path for path, mask in zip(paths, masks, strict=True) if not mask],
        [path for path, mask in zip(paths, masks, strict=True) if mask],
    )


def _in_mask_folders(places: Sequence[str], stems: Sequence[str]) -> list[bool]:
    """Return for each file whether it is in a folder of masks.

    Args:
        places: folders, relative to the class folder.
        stems: names of the files without extension.
    """
    kinds = {
        place: (_any(is_annotation_name, place), _any(is_image_folder_name, place))
        for place in set(places)
    }
    marked = [kinds[place][0] for place in places]
    if not any(marked) or all(marked):
        return [False] * len(places)
    if all(of_images for annotated, of_images in kinds.values() if not annotated):
        return marked
    names = {stem.lower() for stem, mask in zip(stems, marked, strict=True) if not mask}
    of_masks = [stem for stem, mask in zip(stems, marked, strict=True) if mask]
    matching = sum(_without_mark(stem).lower() in names for stem in of_masks)
    return marked if 2 * matching >= sum(marked) else [False] * len(places)


def _without_mark(stem: str) -> str:
    """Return ``1`` for ``1_mask``, ``1_mask_2`` and ``mask_1``."""
    shorter = _SUFFIX.sub("", stem)
    return _PREFIX.sub("", stem) if shorter == stem else shorter


def _any(is_named: Callable[[str], bool], place: str) -> bool:
    return any(is_named(name) for name in place.split(os.sep) if name)  # noqa: PTH206
