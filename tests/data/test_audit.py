"""The audit: every kind of bad file is reported, and all others are used."""

from __future__ import annotations

import os
import tracemalloc
from pathlib import Path

import pytest
from PIL import Image

from tests.conftest import PhotoMaker, picture
from tests.data.samples import SAMPLES, tiles, with_orientation
from tltool.data.audit.audit import Audit, audit, write_issues
from tltool.data.sources.open import read_source
from tltool.errors import DataError
from tltool.events import SilentObserver


class Listener(SilentObserver):
    def __init__(self) -> None:
        self.progress: list[tuple[int, int]] = []
        self.messages: list[str] = []

    def on_progress(self, done: int, total: int, *, unit: str = "images") -> None:
        self.progress.append((done, total))

    def on_message(self, text: str, *, level: str = "info") -> None:
        self.messages.append(f"{level}: {text}")


def run(
    root: Path,
    *,
    test: Path | None = None,
    on_bad: str = "skip",
    most: float = 0.5,
    observer: SilentObserver | None = None,
) -> Audit:
    return audit(
        read_source(root, test=test),
        on_bad=on_bad,
        max_bad_fraction=most,
        max_pixels=50_000_000,
        observer=observer or SilentObserver(),
    )


def kinds(found: Audit) -> dict[str, tuple[str, bool]]:
    return {issue.path.name: (issue.kind, issue.bad) for issue in found.issues}


def test_good_images_get_their_size_format_orientation_and_hash(make_photos: PhotoMaker) -> None:
    root = make_photos(n=2)
    (root / "cat" / "turned.jpg").write_bytes(with_orientation(tiles(), "JPEG", 6))
    listener = Listener()
    found = run(root, observer=listener)
    assert not found.issues
    assert found.catalog.class_names == ("cat", "dog")
    assert listener.progress[-1] == (5, 5)
    turned = found.catalog.items[2]
    assert (turned.width, turned.height, turned.format, turned.orientation) == (60, 80, "jpeg", 6)
    assert len({item.sha256 for item in found.catalog.items}) == 5
    assert not listener.messages


def test_every_kind_of_bad_file_is_reported_and_skipped(make_photos: PhotoMaker) -> None:
    root = make_photos(n=9)
    cat = root / "cat"
    jpeg = (cat / "0_000.jpg").read_bytes()
    bad = {
        "empty.jpg": (b"", "empty"),
        "half.jpg": (jpeg[: len(jpeg) // 2], "damaged"),
        "start.jpg": (jpeg[:30], "damaged"),
        "text.jpg": (b"this is a text\n" * 9, "not an image"),
        "half.png": (SAMPLES["png"]()[:200], "damaged"),
        "drawing.jpg": (b"<svg width='9'/>", "unsupported"),
    }
    for name, (data, _) in bad.items():
        (cat / name).write_bytes(data)
    os.mkfifo(cat / "pipe.jpg")
    (cat / "broken_link.jpg").symlink_to(root / "nowhere.jpg")
    listener = Listener()
    found = run(root, observer=listener)
    expected = {name: (kind, True) for name, (_, kind) in bad.items()}
    expected |= {"pipe.jpg": ("unreadable", True), "broken_link.jpg": ("unreadable", True)}
    assert kinds(found) == expected
    assert len(found.catalog) == 18
    assert "8 files cannot be used" in listener.messages[0]
    assert (cat / "half.jpg").read_bytes() == bad["half.jpg"][0]


def test_an_image_with_too_many_pixels_is_not_decoded(make_photos: PhotoMaker) -> None:
    root = make_photos(n=2)
    Image.new("1", (20_000, 20_000)).save(root / "cat" / "bomb.png")
    Image.new("1", (8_000, 8_000)).save(root / "cat" / "big.png")
    tracemalloc.start()
    found = run(root)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert kinds(found) == {
        "bomb.png": ("too many pixels", True),
        "big.png": ("too many pixels", True),
    }
    assert peak < 50e6


def test_wrong_extensions_and_animations_are_used_with_a_warning(make_photos: PhotoMaker) -> None:
    root = make_photos(n=2)
    (root / "cat" / "png.jpg").write_bytes(SAMPLES["png"]())
    (root / "cat" / "moving.gif").write_bytes(SAMPLES["gif animated"]())
    (root / "dog" / "moving.webp").write_bytes(SAMPLES["webp animated"]())
    found = run(root)
    assert kinds(found) == {
        "png.jpg": ("wrong extension", False),
        "moving.gif": ("animated", False),
        "moving.webp": ("animated", False),
    }
    assert len(found.catalog) == 7
    assert {item.path.name: item.format for item in found.catalog.items}["png.jpg"] == "png"


def test_other_formats_are_accepted_through_pillow(make_photos: PhotoMaker) -> None:
    root = make_photos(n=2)
    for name in ("a.tif", "a.jp2", "a.ppm", "a.ico", "a.avif"):
        picture(1).save(root / "cat" / name)
    found = run(root)
    assert not found.issues
    formats = {item.path.suffix: item.format for item in found.catalog.items}
    assert formats[".tif"] == "tiff"
    assert all(item.width == 48 for item in found.catalog.items)


def test_fail_stops_at_any_bad_file_and_skip_at_too_many(make_photos: PhotoMaker) -> None:
    root = make_photos(n=5)
    (root / "cat" / "x.jpg").write_bytes(b"")
    with pytest.raises(DataError, match=r"1 of 11 files cannot be used: cat/x.jpg: empty"):
        run(root, on_bad="fail")
    with pytest.raises(
        DataError, match=r"1 of 11 files cannot be used \(limit: 5%\): cat/x.jpg: empty"
    ):
        run(root, most=0.05)
    assert len(run(root, most=0.1).catalog) == 10


def test_the_mend_is_in_the_hint_where_a_run_is_refused(make_photos: PhotoMaker) -> None:
    root = make_photos(n=2)
    for number in range(3):
        pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n"
        (root / "cat" / f"{number}.jpg").write_bytes(pointer)
    (root / "dog" / "x.png").write_bytes(b"")
    named = r"cat/0\.jpg: not an image, but a Git LFS pointer"
    with pytest.raises(DataError, match=named) as refused:
        run(root, most=0.1)
    assert refused.value.hint == (
        "fetch the image with: git lfs pull; replace it with an intact copy, or remove it; "
        "or train without them: --set data.max_bad_fraction=0.5"
    )
    for path in [*root.rglob("0_*"), *root.rglob("1_*"), root / "dog" / "x.png"]:
        path.unlink()
    (root / "dog" / "0.jpg").write_bytes(b"<svg/>")
    with pytest.raises(DataError, match="none of the 4 images") as refused:
        run(root)
    assert refused.value.hint == "fetch the image with: git lfs pull; render it to PNG"


def test_a_class_without_a_readable_image_is_named(make_photos: PhotoMaker) -> None:
    root = make_photos(n=2)
    for path in (root / "dog").iterdir():
        path.write_bytes(b"rubbish")
    with pytest.raises(DataError, match="no image of class 'dog' can be read"):
        run(root, most=1.0)
    for path in (root / "cat").iterdir():
        path.write_bytes(b"")
    with pytest.raises(DataError, match="none of the 4 images"):
        run(root, most=1.0)


def test_empty_classes_stray_images_and_duplicates_are_reported(
    make_photos: PhotoMaker, tmp_path: Path
) -> None:
    root = make_photos(n=3)
    test = make_photos(tmp_path / "test", n=1, seed=5)
    (root / "bird").mkdir()
    picture(9).save(root / "stray.png")
    copy = (root / "cat" / "0_000.jpg").read_bytes()
    (test / "cat" / "copy.jpg").write_bytes(copy)
    (root / "dog" / "cat.jpg").write_bytes(copy)
    found = run(root, test=test)
    assert {issue.kind for issue in found.issues} == {
        "empty class folder",
        "outside the class folders",
        "duplicate across splits",
        "same image, different labels",
    }
    assert not any(issue.bad for issue in found.issues)
    assert found.catalog.class_names == ("cat", "dog")


def test_issues_are_written_as_a_table(make_photos: PhotoMaker, tmp_path: Path) -> None:
    root = make_photos(n=2)
    (root / "cat" / "a, b.jpg").write_bytes(b"")
    write_issues(tmp_path / "data_issues.csv", run(root).issues)
    lines = (tmp_path / "data_issues.csv").read_text().splitlines()
    assert lines[0] == "path,kind,used,detail"
    assert lines[1].endswith('a, b.jpg",empty,no,0 bytes')


@pytest.mark.photos
def test_all_real_photos_are_readable(photos_dir: Path) -> None:
    found = run(photos_dir / "hymenoptera")
    assert len(found.catalog) == 397
    assert not [issue for issue in found.issues if issue.bad]
