"""What the folder source makes of a tree of files, and what it says when it cannot."""

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
    """Give a folder, and do what follows as a user who may not read everything, as root may."""
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
def test_ready_splits_are_recognised_by_name(tmp_path: Path, train: str, validation: str) -> None:
    splits = {train: "train", validation: "validation", "test": "test"}
    touch(tmp_path, *(f"{split}/{label}/1.jpg" for split in splits for label in ("a", "b")))
    wanted = sorted(((c, s) for s in splits.values() for c in ("a", "b")), key=str)
    assert labels(read_source(tmp_path)) == wanted


def test_a_class_may_be_called_train(tmp_path: Path) -> None:
    listing = read_source(touch(tmp_path, "train/1.jpg", "car/1.jpg", "bus/1.jpg"))
    assert [item.label for item in listing.items] == ["bus", "car", "train"]


def test_a_separate_test_folder_marks_its_items(tmp_path: Path) -> None:
    touch(tmp_path / "photos", "cat/1.jpg", "dog/1.jpg")
    touch(tmp_path / "held", "cat/2.jpg")
    listing = read_source(tmp_path / "photos", test=tmp_path / "held")
    assert labels(listing) == [("cat", "test"), ("cat", None), ("dog", None)]


def test_hidden_files_are_counted_and_other_files_counted_by_extension(tmp_path: Path) -> None:
    touch(tmp_path, "cat/1.jpg", "cat/.hidden.jpg", "cat/Thumbs.db", "dog/1.jpg", "dog/notes.TXT")
    touch(tmp_path, ".git/x.jpg", "__MACOSX/cat/1.jpg", "dog/desktop.ini", "dog/LICENSE", "a.csv")
    listing = read_source(tmp_path)
    assert len(listing.items) == 2
    assert listing.hidden == 5
    assert listing.ignored == {"": 1, ".csv": 1, ".txt": 1}


def test_class_names_may_hold_spaces_and_unicode_and_are_normalised(tmp_path: Path) -> None:
    decomposed = unicodedata.normalize("NFD", "Übung 猫")
    listing = read_source(touch(tmp_path, f"{decomposed}/1.jpg", "red fox/1.jpg"))
    assert {item.label for item in listing.items} == {"Übung 猫", "red fox"}


def test_links_are_followed_but_not_in_circles(tmp_path: Path) -> None:
    touch(tmp_path / "elsewhere", "1.jpg", "2.jpg")
    photos = touch(tmp_path / "photos", "dog/1.jpg")
    (photos / "cat").symlink_to(tmp_path / "elsewhere")
    (photos / "dog" / "again").symlink_to(photos / "dog")
    assert [item.label for item in read_source(photos).items] == ["cat", "cat", "dog"]


def test_a_folder_that_links_reach_again_is_read_once_a_class_and_named(tmp_path: Path) -> None:
    letters = "abcdefghij"
    touch(tmp_path, *(f"{letter}/1.jpg" for letter in letters))
    for letter in letters:
        for other in letters.replace(letter, ""):
            (tmp_path / letter / f"to {other}").symlink_to(tmp_path / other)
    listener = Listener()
    listing = read_source(tmp_path, observer=listener)
    # every class holds all ten folders, none of them twice
    assert len(listing.items) == 100
    assert any("'a/to b/to a'" in message for message in listener.messages)


@pytest.mark.parametrize(
    ("link", "target", "told"),
    [
        ("cat/up", "..", "'cat/up': by a link it is the folder of all images, so that the images"),
        ("cat/more", "../dog", "'cat/more': by a link it is 'dog', so that the images there"),
        ("a dog", "dog", "'a dog': by a link it is 'dog', so that the images there count as"),
    ],
)
def test_links_to_photos_of_others_are_warned_of(
    link: str, target: str, told: str, tmp_path: Path
) -> None:
    touch(tmp_path, "cat/1.jpg", "cat/inner/2.jpg", "dog/1.jpg")
    (tmp_path / link).symlink_to(target)
    listener = Listener()
    read_source(tmp_path, observer=listener)
    warned = [message for message in listener.messages if "by a link" in message]
    assert len(warned) == 1
    assert told in warned[0]
    assert "remove the link" in warned[0]


@pytest.mark.parametrize("other", ["ant", "zebra"])
def test_a_link_into_the_folder_of_another_class_is_warned_of(tmp_path: Path, other: str) -> None:
    """Whether it is read before the images that it leads to, or after them."""
    touch(tmp_path, "cat/1.jpg", "cat/in/2.jpg", "cat/in/deep/3.jpg", f"{other}/4.jpg")
    (tmp_path / other / "more").symlink_to("../cat/in")
    (tmp_path / "cat" / "again").symlink_to("in")  # within its class: harmless
    listener = Listener()
    listing = read_source(tmp_path, observer=listener)
    assert len(listing.items) == 6  # the images of cat, and two of them again
    warned = [message for message in listener.messages if "by a link" in message]
    assert len(warned) == 1
    assert f"'{other}/more': by a link it is 'cat/" in warned[0]
    assert f"count as '{other}' too; remove the link" in warned[0]


def test_classes_that_link_to_one_folder_elsewhere_are_warned_of(tmp_path: Path) -> None:
    touch(tmp_path, "elsewhere/1.jpg", "photos/cat/2.jpg", "photos/dog/3.jpg")
    for label in ("cat", "dog"):
        (tmp_path / "photos" / label / "more").symlink_to(tmp_path / "elsewhere")
    (astray,) = read_source(tmp_path / "photos").astray
    assert (astray.path.parent.name, astray.target.parent.name) == ("dog", "cat")


def test_a_link_between_parts_is_warned_of_and_one_within_a_class_is_not(tmp_path: Path) -> None:
    touch(tmp_path, "train/cat/1.jpg", "train/dog/1.jpg", "train/dog/in/2.jpg", "val/dog/3.jpg")
    (tmp_path / "train/dog/again").symlink_to("in")
    (tmp_path / "val/cat").symlink_to("../train/cat")
    listing = read_source(tmp_path)
    assert [str(each.path.relative_to(tmp_path)) for each in listing.astray] == ["val/cat"]


@pytest.mark.skipif(os.name != "posix", reason="rights of POSIX")
@pytest.mark.parametrize(("of_others", "of_owner"), [(0o744, 0o444), (0o711, 0o311), (0o700, 0)])
@pytest.mark.parametrize("where", ["", "cat", "cat/deep"])
def test_a_folder_that_may_not_be_read_or_entered(
    of_others: int, of_owner: int, where: str
) -> None:
    with as_nobody() as root:
        touch(root, "cat/deep/1.jpg", "dog/1.jpg")
        (root / where).chmod(of_others if os.geteuid() == 0 else of_owner)
        forget_root()
        for read in (read_source, read_images):
            with pytest.raises(DataError, match=r"the folder .* may not be read") as raised:
                read(root)
            assert str(root / where) in raised.value.message
            assert "chmod u+rx" in str(raised.value.hint)


@pytest.mark.skipif(os.name != "posix", reason="rights of POSIX")
def test_a_link_into_a_folder_that_may_not_be_entered() -> None:
    with as_nobody() as root:
        touch(root, "photos/cat/1.jpg", "photos/dog/1.jpg", "secret/more/2.jpg")
        (root / "photos/dog/more").symlink_to(root / "secret/more")
        (root / "secret").chmod(0o700 if os.geteuid() == 0 else 0)
        forget_root()
        with pytest.raises(DataError, match=r"dog/more.* cannot be followed"):
            read_source(root / "photos")


def test_links_to_nothing_and_to_themselves_are_left_to_the_audit(tmp_path: Path) -> None:
    touch(tmp_path, "cat/1.jpg", "dog/1.jpg")
    (tmp_path / "cat/2.jpg").symlink_to("2.jpg")
    (tmp_path / "cat/3.jpg").symlink_to("gone.jpg")
    assert [item.path.name for item in read_source(tmp_path).items] == [
        "1.jpg", "2.jpg", "3.jpg", "1.jpg",
    ]  # fmt: skip


def test_folders_in_folders_without_end(tmp_path: Path) -> None:
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


def test_empty_class_folders_and_stray_images_are_noted_but_no_classes(tmp_path: Path) -> None:
    touch(tmp_path, "cat/1.jpg", "dog/1.jpg", "stray.jpg", "bird/readme.txt")
    listing = read_source(tmp_path)
    assert {item.label for item in listing.items} == {"cat", "dog"}
    assert listing.stray == (tmp_path / "stray.jpg",)
    assert listing.empty_classes == (tmp_path / "bird",)


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ([], "holds no images"),
        (["cat/notes.txt"], "holds no images"),
        (["1.jpg", "2.jpg"], "2 images in .* lie directly in it"),
        (["cat/1.jpg"], "1 class only.*'cat'"),
        (["cat/1.jpg", "dog/x.txt"], "1 class only"),
        (["val/cat/1.jpg", "test/cat/1.jpg"], "no train folder"),
        (["train/1.jpg", "val/2.jpg"], "lie directly"),
        (["train/a/1.jpg", "train/b/1.jpg", "extra/a/1.jpg"], "mixes ready splits.*'extra'"),
        (["train/a/1.jpg", "val/a/1.jpg", "valid/a/1.jpg"], "more than one validation"),
        (["train/a/1.jpg", "train/b/1.jpg", "val/c/1.jpg"], "validation images.*'c'.*known: 'a'"),
    ],
)
def test_an_unusable_folder_is_refused_in_one_clear_sentence(
    tmp_path: Path, files: list[str], message: str
) -> None:
    with pytest.raises(DataError, match=message):
        read_source(touch(tmp_path, *files))


def test_a_missing_folder_and_a_file_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="there is no folder"):
        read_source(tmp_path / "nowhere")
    with pytest.raises(DataError, match="is a file, not"):
        read_source(touch(tmp_path, "file") / "file")


def test_a_test_folder_with_unknown_classes_is_refused(tmp_path: Path) -> None:
    touch(tmp_path, "photos/cat/1.jpg", "photos/dog/1.jpg", "held/bird/1.jpg")
    with pytest.raises(DataError, match=r"test images have classes.*'bird'"):
        read_source(tmp_path / "photos", test=tmp_path / "held")


def test_a_class_name_that_is_not_utf8_is_refused(tmp_path: Path) -> None:
    try:
        Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9")).mkdir()
    except OSError:
        pytest.skip("this file system takes no such name")
    with pytest.raises(DataError, match="not valid UTF-8"):
        read_source(touch(tmp_path, "cat/1.jpg", "dog/1.jpg"))


@pytest.mark.parametrize("where", ["other/", "train/other/", "val/other/"])
def test_a_folder_of_other_photos_is_no_class(tmp_path: Path, where: str) -> None:
    parts = ["train/", "val/"] if "/" in where[:-1] else [""]
    names = [f"{part}{label}/1.jpg" for part in parts for label in ("cat", "dog")]
    found = read_source(
        touch(tmp_path, *names, f"{where}2.jpg", f"{where}3.jpg"), ood_images="other"
    )
    assert {label for label, _ in labels(found)} == {"cat", "dog"}
    assert [path.name for path in found.ood_images] == ["2.jpg", "3.jpg"]


def test_other_photos_beside_ready_parts(tmp_path: Path) -> None:
    names = [f"{part}/{label}/1.jpg" for part in ("train", "val") for label in ("cat", "dog")]
    found = read_source(touch(tmp_path, *names, "nothing/2.jpg"), ood_images="nothing")
    assert (len(found.items), len(found.ood_images)) == (4, 1)


def test_other_photos_in_a_source_of_their_own(tmp_path: Path) -> None:
    touch(tmp_path, "photos/cat/1.jpg", "photos/dog/1.jpg", "else/where/2.jpg")
    found = read_source(tmp_path / "photos", ood_images=str(tmp_path / "else"))
    assert (len(found.items), len(found.ood_images)) == (2, 1)
    with pytest.raises(DataError, match="no images in 'gone'"):
        read_source(tmp_path / "photos", ood_images="gone")
