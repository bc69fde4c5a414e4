"""Folders as sources: labels, splits, links, OOD images, and errors."""

from __future__ import annotations

import os
import tempfile
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tltool.data.sources.listing import Listing
from tltool.data.sources.open import read_images, read_source
from tltool.errors import DataError
from tltool.events import SilentObserver


class Listener(SilentObserver):
    def __init__(self) -> None:
        self.messages: list[str] = []

    def on_message(self, text: str, *, level: str = "info") -> None:
        self.messages.append(text)


@contextmanager
def as_nobody() -> Iterator[Path]:
    """Yield a folder, and run the test as a user without the rights of root."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        was_root = os.geteuid() == 0
        try:
            yield Path(folder)
        finally:
            if was_root:
                os.seteuid(0)
            for place in (folder, *map(str, Path(folder).rglob("*"))):
                Path(place).chmod(0o755)


def forget_root() -> None:
    if os.geteuid() == 0:
        os.seteuid(65534)


def touch(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"x")
    return root


def labels(listing: Listing) -> list[tuple[str, str | None]]:
    return sorted({(item.label, item.given_split) for item in listing.items}, key=str)


def test_class_folders_give_labels_and_nested_files_belong_to_their_class(tmp_path: Path) -> None:
    listing = read_source(touch(tmp_path, "cat/a.jpg", "cat/more/deep/b.PNG", "dog/c.jpeg"))
    found = [(item.path.name, item.label, item.given_split) for item in listing.items]
    assert found == [("a.jpg", "cat", None), ("b.PNG", "cat", None), ("c.jpeg", "dog", None)]


@pytest.mark.parametrize("train", ["train", "training", "Train"])
@pytest.mark.parametrize("validation", ["val", "valid", "validation"])
def test_split_folders_are_recognised_by_name(tmp_path: Path, train: str, validation: str) -> None:
    splits = {train: "train", validation: "validation", "test": "test"}
    touch(tmp_path, *(f"{split}/{label}/1.jpg" for split in splits for label in ("a", "b")))
    expected = sorted(((c, s) for s in splits.values() for c in ("a", "b")), key=str)
    assert labels(read_source(tmp_path)) == expected


def test_a_class_may_be_called_train(tmp_path: Path) -> None:
    listing = read_source(touch(tmp_path, "train/1.jpg", "car/1.jpg", "bus/1.jpg"))
    assert [item.label for item in listing.items] == ["bus", "car", "train"]


def test_a_separate_test_folder_marks_its_items(tmp_path: Path) -> None:
    touch(tmp_path / "photos", "cat/1.jpg", "dog/1.jpg")
    touch(tmp_path / "test", "cat/2.jpg")
    listing = read_source(tmp_path / "photos", test=tmp_path / "test")
    assert labels(listing) == [("cat", "test"), ("cat", None), ("dog", None)]


def test_hidden_files_are_counted_and_other_files_counted_by_extension(tmp_path: Path) -> None:
    touch(tmp_path, "cat/1.jpg", "cat/.hidden.jpg", "cat/Thumbs.db", "dog/1.jpg", "dog/notes.TXT")
    touch(tmp_path, ".git/x.jpg", "__MACOSX/cat/1.jpg", "dog/desktop.ini", "dog/LICENSE", "a.csv")
    listing = read_source(tmp_path)
    assert len(listing.items) == 2
    assert listing.hidden == 5
    assert listing.ignored == {"": 1, ".csv": 1, ".txt": 1}


def test_class_names_may_contain_spaces_and_unicode_and_are_normalised(tmp_path: Path) -> None:
    decomposed = unicodedata.normalize("NFD", "Übung 猫")
    listing = read_source(touch(tmp_path, f"{decomposed}/1.jpg", "red fox/1.jpg"))
    assert {item.label for item in listing.items} == {"Übung 猫", "red fox"}


def test_links_are_followed_but_not_in_loops(tmp_path: Path) -> None:
    touch(tmp_path / "elsewhere", "1.jpg", "2.jpg")
    photos = touch(tmp_path / "photos", "dog/1.jpg")
    (photos / "cat").symlink_to(tmp_path / "elsewhere")
    (photos / "dog" / "again").symlink_to(photos / "dog")
    assert [item.label for item in read_source(photos).items] == ["cat", "cat", "dog"]


def test_a_folder_linked_twice_in_a_class_is_read_once_and_reported(tmp_path: Path) -> None:
    letters = "abcdefghij"
    touch(tmp_path, *(f"{letter}/1.jpg" for letter in letters))
    for letter in letters:
        for other in letters.replace(letter, ""):
            (tmp_path / letter / f"to {other}").symlink_to(tmp_path / other)
    listener = Listener()
    listing = read_source(tmp_path, observer=listener)
    # every class contains all ten folders, none of them twice
    assert len(listing.items) == 100
    assert any("'a/to b/to a'" in message for message in listener.messages)


@pytest.mark.parametrize(
    ("link", "target", "message"),
    [
        ("cat/up", "..", "'cat/up': symbolic link to the folder of all images; the images there"),
        ("cat/more", "../dog", "'cat/more': symbolic link to 'dog'; the images there"),
        ("a dog", "dog", "'a dog': symbolic link to 'dog'; the images there also count as"),
    ],
)
def test_links_to_images_of_other_classes_give_a_warning(
    link: str, target: str, message: str, tmp_path: Path
) -> None:
    touch(tmp_path, "cat/1.jpg", "cat/inner/2.jpg", "dog/1.jpg")
    (tmp_path / link).symlink_to(target)
    listener = Listener()
    read_source(tmp_path, observer=listener)
    warned = [text for text in listener.messages if "symbolic link to" in text]
    assert len(warned) == 1
    assert message in warned[0]
    assert "remove the link" in warned[0]


@pytest.mark.parametrize("other", ["ant", "zebra"])
def test_a_link_into_the_folder_of_another_class_gives_a_warning(
    tmp_path: Path, other: str
) -> None:
    """Whether it is read before or after the images that it leads to."""
    touch(tmp_path, "cat/1.jpg", "cat/in/2.jpg", "cat/in/deep/3.jpg", f"{other}/4.jpg")
    (tmp_path / other / "more").symlink_to("../cat/in")
    (tmp_path / "cat" / "again").symlink_to("in")  # within its class: harmless
    listener = Listener()
    listing = read_source(tmp_path, observer=listener)
    assert len(listing.items) == 6  # the images of cat, and two of them again
    warned = [text for text in listener.messages if "symbolic link to" in text]
    assert len(warned) == 1
    assert f"'{other}/more': symbolic link to 'cat/" in warned[0]
    assert f"count as class '{other}'; remove the link" in warned[0]


def test_classes_that_link_to_the_same_folder_give_a_warning(tmp_path: Path) -> None:
    touch(tmp_path, "elsewhere/1.jpg", "photos/cat/2.jpg", "photos/dog/3.jpg")
    for label in ("cat", "dog"):
        (tmp_path / "photos" / label / "more").symlink_to(tmp_path / "elsewhere")
    (link,) = read_source(tmp_path / "photos").cross_class_links
    assert (link.path.parent.name, link.target.parent.name) == ("dog", "cat")


def test_a_link_between_splits_gives_a_warning_and_one_within_a_class_does_not(
    tmp_path: Path,
) -> None:
    touch(tmp_path, "train/cat/1.jpg", "train/dog/1.jpg", "train/dog/in/2.jpg", "val/dog/3.jpg")
    (tmp_path / "train/dog/again").symlink_to("in")
    (tmp_path / "val/cat").symlink_to("../train/cat")
    listing = read_source(tmp_path)
    assert [str(each.path.relative_to(tmp_path)) for each in listing.cross_class_links] == [
        "val/cat"
    ]


@pytest.mark.skipif(os.name != "posix", reason="rights of POSIX")
@pytest.mark.parametrize(("of_others", "of_owner"), [(0o744, 0o444), (0o711, 0o311), (0o700, 0)])
@pytest.mark.parametrize("where", ["", "cat", "cat/deep"])
def test_a_folder_without_permission(of_others: int, of_owner: int, where: str) -> None:
    with as_nobody() as root:
        touch(root, "cat/deep/1.jpg", "dog/1.jpg")
        (root / where).chmod(of_others if os.geteuid() == 0 else of_owner)
        forget_root()
        for read in (read_source, read_images):
            with pytest.raises(DataError, match=r"no permission to read the folder") as raised:
                read(root)
            assert str(root / where) in raised.value.message
            assert "chmod u+rx" in str(raised.value.hint)


@pytest.mark.skipif(os.name != "posix", reason="rights of POSIX")
def test_a_link_to_a_folder_without_permission() -> None:
    with as_nobody() as root:
        touch(root, "photos/cat/1.jpg", "photos/dog/1.jpg", "secret/more/2.jpg")
        (root / "photos/dog/more").symlink_to(root / "secret/more")
        (root / "secret").chmod(0o700 if os.geteuid() == 0 else 0)
        forget_root()
        with pytest.raises(DataError, match=r"dog/more.* cannot be followed"):
            read_source(root / "photos")


def test_broken_links_and_loops_are_left_to_the_audit(tmp_path: Path) -> None:
    touch(tmp_path, "cat/1.jpg", "dog/1.jpg")
    (tmp_path / "cat/2.jpg").symlink_to("2.jpg")
    (tmp_path / "cat/3.jpg").symlink_to("gone.jpg")
    assert [item.path.name for item in read_source(tmp_path).items] == [
        "1.jpg", "2.jpg", "3.jpg", "1.jpg",
    ]  # fmt: skip


def test_deeply_nested_folders(tmp_path: Path) -> None:
    touch(tmp_path, "cat/1.jpg", "dog/1.jpg")
    place = tmp_path / "dog"
    try:
        for _ in range(1200):  # deeper than Python calls itself, within what a path may be long
            place = place / "d"
            place.mkdir()
        touch(place, "2.jpg")
        found = read_source(tmp_path).items
        assert [item.path.name for item in found] == ["1.jpg", "1.jpg", "2.jpg"]
    finally:  # pytest would fail to remove it, now and at its next start
        (place / "2.jpg").unlink(missing_ok=True)
        while place != tmp_path / "dog":
            place.rmdir()
            place = place.parent


def test_empty_class_folders_and_stray_images_are_listed_but_not_used(tmp_path: Path) -> None:
    touch(tmp_path, "cat/1.jpg", "dog/1.jpg", "stray.jpg", "bird/readme.txt")
    listing = read_source(tmp_path)
    assert {item.label for item in listing.items} == {"cat", "dog"}
    assert listing.stray == (tmp_path / "stray.jpg",)
    assert listing.empty_classes == (tmp_path / "bird",)


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ([], "contains no images"),
        (["cat/notes.txt"], "contains no images"),
        (["1.jpg", "2.jpg"], "2 images in .* are not in class folders"),
        (["cat/1.jpg"], "only 1 class.*'cat'"),
        (["cat/1.jpg", "dog/x.txt"], "only 1 class"),
        (["val/cat/1.jpg", "test/cat/1.jpg"], "no train folder"),
        (["train/1.jpg", "val/2.jpg"], "not in class folders"),
        (
            ["train/a/1.jpg", "train/b/1.jpg", "extra/a/1.jpg"],
            "contains split folders and other folders.*'extra'",
        ),
        (["train/a/1.jpg", "val/a/1.jpg", "valid/a/1.jpg"], "more than one validation"),
        (["train/a/1.jpg", "train/b/1.jpg", "val/c/1.jpg"], "validation images.*'c'.*known: 'a'"),
    ],
)
def test_an_unusable_folder_is_one_clear_error(
    tmp_path: Path, files: list[str], message: str
) -> None:
    with pytest.raises(DataError, match=message):
        read_source(touch(tmp_path, *files))


def test_a_missing_folder_and_a_file_are_errors(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="there is no folder"):
        read_source(tmp_path / "nowhere")
    with pytest.raises(DataError, match="is a file, not"):
        read_source(touch(tmp_path, "file") / "file")


def test_a_test_folder_with_unknown_classes_is_an_error(tmp_path: Path) -> None:
    touch(tmp_path, "photos/cat/1.jpg", "photos/dog/1.jpg", "test/bird/1.jpg")
    with pytest.raises(DataError, match=r"test images have classes.*'bird'"):
        read_source(tmp_path / "photos", test=tmp_path / "test")


def test_a_class_name_that_is_not_utf8_is_an_error(tmp_path: Path) -> None:
    try:
        Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9")).mkdir()
    except OSError:
        pytest.skip("this file system takes no such name")
    with pytest.raises(DataError, match="not valid UTF-8"):
        read_source(touch(tmp_path, "cat/1.jpg", "dog/1.jpg"))


@pytest.mark.parametrize("where", ["ood/", "train/ood/", "val/ood/"])
def test_a_folder_of_ood_images_is_not_a_class(tmp_path: Path, where: str) -> None:
    parts = ["train/", "val/"] if "/" in where[:-1] else [""]
    names = [f"{part}{label}/1.jpg" for part in parts for label in ("cat", "dog")]
    found = read_source(touch(tmp_path, *names, f"{where}2.jpg", f"{where}3.jpg"), ood_images="ood")
    assert {label for label, _ in labels(found)} == {"cat", "dog"}
    assert [path.name for path in found.ood_images] == ["2.jpg", "3.jpg"]


def test_ood_images_next_to_split_folders(tmp_path: Path) -> None:
    names = [f"{part}/{label}/1.jpg" for part in ("train", "val") for label in ("cat", "dog")]
    found = read_source(touch(tmp_path, *names, "nothing/2.jpg"), ood_images="nothing")
    assert (len(found.items), len(found.ood_images)) == (4, 1)


def test_ood_images_in_another_source(tmp_path: Path) -> None:
    touch(tmp_path, "photos/cat/1.jpg", "photos/dog/1.jpg", "else/where/2.jpg")
    found = read_source(tmp_path / "photos", ood_images=str(tmp_path / "else"))
    assert (len(found.items), len(found.ood_images)) == (2, 1)
    with pytest.raises(DataError, match="no images in 'gone'"):
        read_source(tmp_path / "photos", ood_images="gone")
