"""Distinguishes split folders (train, test) from class folders by name and content."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Sequence
from pathlib import Path

from tltool.data.catalog import SplitName
from tltool.data.sources.folders.folder_names import (
    Part,
    Role,
    content_words,
    is_annotation_name,
    is_documentation_name,
    is_unlabelled_name,
    part_named,
)
from tltool.data.sources.folders.folder_tree import holds_images, image_folders
from tltool.data.sources.listing import LayoutNote, Severity, listed
from tltool.errors import DataError

_ORDER: tuple[SplitName, ...] = ("train", "validation", "test")
_PLAIN = frozenset({"train", "training", "val", "valid", "validation", "test"})


def split_folders(
    place: Path,
    folders: Sequence[Path],
    notes: list[LayoutNote],
    *,
    known_classes: Collection[str] = (),
) -> list[tuple[SplitName, Path]] | None:
    """Return the split folders, train first, or None if ``folders`` are classes.

    Folders with the names of splits are splits if they contain class folders. ``train`` without
    class folders, beside ``car`` and ``bus``, is a class.

    Args:
        place: the folder that contains them.
        folders: all folders in it.
        notes: receives remarks.
        known_classes: names of folders that are classes unless they contain folders of images.

    Raises:
        DataError: the folders may be splits or classes, or there is no train folder.
    """
    named = _split_names(place, folders, notes)
    if not named:
        return None
    others = [folder for folder in folders if folder not in named and holds_images(folder)]
    deep = [folder for folder in named if image_folders(folder)]
    if not deep and all(folder.name in known_classes for folder in named):
        return None
    roles = {part.role for part in named.values()}
    skipped = [each for each in others if deep and _is_no_class(each)]
    others = [folder for folder in others if folder not in skipped]
    if others and _are_classes(place, named, deep, others, notes):
        return None
    if not others and not deep and len(roles) == 1 and not _are_plain(named):
        _note_as_classes(named, notes)
        return None  # classes such as test1 and test2
    splits = _resolved(place, named)
    for folder in skipped:
        detail = "beside the split folders, without labels, and not used"
        mend = "images without labels are for tltool predict"
        notes.append(LayoutNote(folder, "folder without labels", detail, mend, "warning"))
    for split, folder in splits:
        if folder.name.lower() not in _PLAIN:
            notes.append(LayoutNote(folder, "split folder", f"used as the {split} split"))
    return splits


def _are_plain(folders: Collection[Path]) -> bool:
    """Return whether all folders have the usual names of splits."""
    return all(folder.name.lower() in _PLAIN for folder in folders)


def _is_no_class(folder: Path) -> bool:
    """Return whether a folder beside split folders holds neither a split nor a class."""
    name = folder.name
    if is_unlabelled_name(name) or is_annotation_name(name) or is_documentation_name(name):
        return True
    return part_named(name) is not None and not image_folders(folder)


def _split_names(place: Path, folders: Sequence[Path], notes: list[LayoutNote]) -> dict[Path, Part]:
    """Return the folders with the names of splits that belong together."""
    by_rest: dict[tuple[str, ...], dict[Path, Part]] = defaultdict(dict)
    for folder in folders:
        part = part_named(folder.name)
        if part is not None:
            by_rest[part.rest][folder] = part
    if () in by_rest:
        return by_rest[()]
    for rest, group in by_rest.items():
        _add_unnamed_train(rest, group, folders)
    pairs = [group for group in by_rest.values() if _train_and_more(group)]
    if len(pairs) > 1:
        names = [folder.name for group in pairs for folder in group]
        detail = f"the names of class folders contain splits: {listed(names)}"
        mend = "make folders train and test with the class folders in each of them"
        notes.append(LayoutNote(place, "splits in class names", detail, mend, "serious"))
    return pairs[0] if len(pairs) == 1 else {}


def _add_unnamed_train(
    rest: tuple[str, ...], group: dict[Path, Part], folders: Sequence[Path]
) -> None:
    """Add ``horses`` to ``horses-test`` as the training split, if they have the same folders."""
    if any(part.role == "train" for part in group.values()):
        return
    same = [f for f in folders if content_words(f.name) == rest and part_named(f.name) is None]
    names = [{each.name for each in image_folders(folder)} for folder in (*same, *group)]
    if len(same) == 1 and len(names[0]) > 1 and all(each == names[0] for each in names):
        group[same[0]] = Part("train", rest)


def _train_and_more(group: dict[Path, Part]) -> bool:
    roles = {part.role for part in group.values()}
    return "train" in roles and len(roles) > 1


def _are_classes(
    place: Path,
    named: dict[Path, Part],
    deep: Sequence[Path],
    others: Sequence[Path],
    notes: list[LayoutNote],
) -> bool:
    """Return whether folders with the names of splits are classes, as ``others`` are.

    Raises:
        DataError: they may be splits too.
    """
    inside = {each.name.lower() for folder in deep for each in image_folders(folder)}
    beside = {folder.name.lower() for folder in others}
    within = {each.name.lower() for folder in others for each in image_folders(folder)}
    has_train = any(part.role == "train" for part in named.values())
    alike = bool(inside & (beside | within))
    if not deep:
        conflict = _train_and_more(named)
    elif has_train:
        nested = all(image_folders(folder) for folder in others)
        conflict = alike or len(named) > 1 or len(others) < 2 or not nested
    else:
        conflict = alike or any(map(_contains_train, others))
    if conflict:
        raise _conflict(place, named, others, separate=inside <= beside and not has_train)
    _note_as_classes(named, notes, deep=bool(deep))
    return True


def _note_as_classes(
    named: dict[Path, Part], notes: list[LayoutNote], *, deep: bool = False
) -> None:
    """Note that folders with the names of splits are classes, except a ``train`` of vehicles.

    Args:
        named: the folders.
        notes: receives the remarks.
        deep: whether they contain folders.
    """
    for folder, part in named.items():
        if deep or folder.name.lower() not in ("train", "trains"):
            detail = f"used as a class, although its name says {part.role}"
            mend = "if it is no class, move it out of the folder (test images: --test)"
            severity: Severity = "note" if folder.name.lower() == "train" else "warning"
            notes.append(LayoutNote(folder, "unusual class folder", detail, mend, severity))


def _contains_train(folder: Path) -> bool:
    """Return whether a folder wraps a split folder of training images."""
    inside = image_folders(folder)
    if len(inside) == 1:
        inside += image_folders(inside[0])
    parts = [part_named(each.name) for each in inside]
    return any(part is not None and part.role == "train" and not part.rest for part in parts)


def _conflict(
    place: Path, named: dict[Path, Part], others: Sequence[Path], *, separate: bool
) -> DataError:
    """Return the error for split folders beside others.

    Args:
        place: the folder that contains them.
        named: the folders with the names of splits.
        others: the other folders.
        separate: whether the splits contain folders with the names of the others.
    """
    names, splits = [folder.name for folder in others], listed([folder.name for folder in named])
    hint = (
        f"keep either the split folders ({splits}) or class folders; rename a class that is named"
        " like a split; give images of no class with --ood-images NAME and test images elsewhere"
        " with --test"
    )
    complete = [folder for folder in others if _contains_train(folder)]
    if separate:
        hint = f"move {splits} out of the folder, and give test images with --test"
    elif complete:
        hint = f"give the folder {complete[0]} alone if it is the data set, or remove it"
    return DataError(
        f"{place} contains split folders and other folders ({listed(names)})", hint=hint
    )


def _resolved(place: Path, named: dict[Path, Part]) -> list[tuple[SplitName, Path]]:
    """Return each folder with its split; each split must be there once, and train must be."""
    roles: list[Role] = [part.role for part in named.values()]
    evaluation: SplitName = "validation" if "test" in roles else "test"
    splits: list[tuple[SplitName, Path]] = [
        (evaluation if part.role == "eval" else part.role, folder) for folder, part in named.items()
    ]
    names = [split for split, _ in splits]
    for name in names:
        if names.count(name) > 1:
            same = [folder.name for split, folder in splits if split == name]
            raise DataError(
                f"{place} contains more than one {name} folder ({listed(same)})",
                hint="keep one of them",
            )
    if "train" not in names:
        raise DataError(
            f"{place} has a {names[0]} folder, but no train folder",
            hint=f"name the folder of the training images 'train', or give"
            f" {place / splits[0][1].name} if it contains all images",
        )
    return sorted(splits, key=lambda each: _ORDER.index(each[0]))
