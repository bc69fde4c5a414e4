"""Images that vanish or change after their audit: one sentence instead of TensorFlow's error."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
import tensorflow as tf

from tests.conftest import PhotoMaker, unless_thorough
from tests.data.samples import SAMPLES, encode, tiles
from tests.data.special_files import replace_by
from tltool.data.audit.audit import audit
from tltool.data.audit.changed_files import ChangedFilesError, files_as_audited
from tltool.data.catalog import Item
from tltool.data.decoding.decode_spec import DecodeSpec
from tltool.data.decoding.transcode import read_image_bytes
from tltool.data.pipeline import image_dataset, image_files
from tltool.data.sources.folders.folder import read_folder
from tltool.errors import DataError
from tltool.events import SilentObserver


def audited(root: Path) -> Sequence[Item]:
    (root / "cat" / "x.tif").write_bytes(SAMPLES["png"]())
    checked = audit(
        read_folder(root),
        on_bad="fail",
        max_bad_fraction=0,
        max_pixels=10**7,
        observer=SilentObserver(),
    )
    return checked.catalog.items


def read_all(items: Sequence[Item]) -> None:
    order = tf.range(len(items), dtype=tf.int64)
    with files_as_audited(lambda: items):
        for _ in image_dataset(image_files(items), DecodeSpec(8, 8), order=order):
            pass


@pytest.mark.parametrize("kind", unless_thorough([".jpg", ".tif"], ".jpg"))
def test_a_file_that_is_gone_is_named(make_photos: PhotoMaker, kind: str) -> None:
    items = audited(make_photos(n=3))
    read_all(items)
    first = next(item.path for item in items if item.path.suffix == kind)
    first.rename(first.with_suffix(".old"))
    with pytest.raises(ChangedFilesError, match=rf"^cat/{first.name} is gone since the audit"):
        read_all(items)


def test_the_number_of_files_that_are_gone_is_given(make_photos: PhotoMaker) -> None:
    items = audited(make_photos(n=3))
    for item in items:
        item.path.unlink()
    with pytest.raises(ChangedFilesError, match=r"cat/0_000\.jpg and 6 more images are gone"):
        read_all(items)


@pytest.mark.parametrize("content", [b"", b"cut off while it was copied", SAMPLES["jpeg"]()[:300]])
def test_a_file_that_is_no_whole_image_any_more_is_named(
    make_photos: PhotoMaker, content: bytes
) -> None:
    items = audited(make_photos(n=3))
    items[4].path.write_bytes(content)
    name = f"{items[4].path.parent.name}/{items[4].path.name}"
    with pytest.raises(ChangedFilesError, match=f"{name} is different or unreadable"):
        read_all(items)


@pytest.mark.parametrize(
    "error", [ValueError("a bug"), OSError("full"), DataError("too few images")]
)
def test_other_errors_are_not_blamed_on_the_files(
    make_photos: PhotoMaker, error: Exception
) -> None:
    items = audited(make_photos(n=1))
    with pytest.raises(type(error)), files_as_audited(lambda: items):
        raise error


def test_a_file_that_is_read_directly_is_named_too(make_photos: PhotoMaker) -> None:
    items = audited(make_photos(n=1))
    items[0].path.unlink()
    with (
        pytest.raises(ChangedFilesError, match="is gone since the audit"),
        files_as_audited(lambda: items),
    ):
        read_image_bytes(items[0].path)


def test_an_error_before_the_audit_is_unchanged() -> None:
    with pytest.raises(OSError, match="full"), files_as_audited(lambda: ()):
        raise OSError("full")


def test_a_whole_image_in_place_of_the_audited_one_is_named(make_photos: PhotoMaker) -> None:
    items = audited(make_photos(n=3))
    items[2].path.write_bytes(encode(tiles(), "JPEG"))
    name = f"{items[2].path.parent.name}/{items[2].path.name}"
    with pytest.raises(ChangedFilesError, match=f"{name} is different"):
        read_all(items)


def test_a_file_that_is_put_back_meanwhile_is_still_named(make_photos: PhotoMaker) -> None:
    items = audited(make_photos(n=1))
    before = items[0].path.read_bytes()
    items[0].path.write_bytes(encode(tiles(), "JPEG"))
    order = tf.range(len(items), dtype=tf.int64)
    with pytest.raises(ChangedFilesError, match="is different"), files_as_audited(lambda: items):
        try:
            list(image_dataset(image_files(items), DecodeSpec(8, 8), order=order))
        finally:
            items[0].path.write_bytes(before)


@pytest.mark.parametrize(
    "kind", unless_thorough(["pipe", "link to /dev/zero", "folder", "socket"], "pipe")
)
def test_a_file_that_is_none_any_more_is_named(make_photos: PhotoMaker, kind: str) -> None:
    items = audited(make_photos(n=2))
    replace_by(kind, items[1].path)
    name = f"{items[1].path.parent.name}/{items[1].path.name}"
    with pytest.raises(ChangedFilesError, match=f"{name} is different or unreadable"):
        read_all(items)
