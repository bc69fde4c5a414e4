"""Image files are regular, of bounded size, and read whole, or there is one sentence."""

from __future__ import annotations

import hashlib
import os
from contextlib import suppress
from pathlib import Path

import pytest

from tests.data.special_files import SPECIAL
from tltool.data.decoding import image_file
from tltool.data.decoding.image_errors import ChangedImageError, UnreadableError
from tltool.data.decoding.image_file import open_image_file, read_image_file
from tltool.data.sources.open import check_source, read_source
from tltool.errors import DataError


@pytest.mark.parametrize("kind", SPECIAL)
def test_what_is_no_regular_file_is_refused_at_once(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "x.jpg"
    SPECIAL[kind](path)
    expected = "a folder" if kind == "folder" else r"not a regular file \(a pipe, a socket"
    with pytest.raises(UnreadableError, match=f"x.jpg is {expected}") as caught:
        read_image_file(path)
    assert caught.value.exit_code == 3


def test_a_file_over_the_limit_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "sparse.jpg"
    path.touch()
    os.truncate(path, image_file.MAX_BYTES + 1)
    with pytest.raises(UnreadableError, match=r"is larger than 1,024 MiB"):
        read_image_file(path)


def test_a_file_that_grows_while_it_is_read_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.jpg"
    path.write_bytes(b"123")
    with (
        open_image_file(path) as (file, size),
        pytest.raises(UnreadableError, match="grows while it is read"),
    ):
        path.write_bytes(b"12345")
        image_file.content_of(path, file, size)


@pytest.mark.parametrize(("content", "how"), [(None, "gone"), (b"124", "different")])
def test_a_file_is_held_against_the_digest_of_its_audit(
    tmp_path: Path, content: bytes | None, how: str
) -> None:
    digest = hashlib.sha256(b"123").hexdigest()
    path = tmp_path / "cat" / "x.jpg"
    path.parent.mkdir()
    path.write_bytes(b"123")
    assert read_image_file(path, sha256=digest) == b"123"
    path.unlink()
    if content:
        path.write_bytes(content)
    with pytest.raises(ChangedImageError, match=f"^cat/x.jpg is {how} since the audit"):
        read_image_file(path, sha256=digest)


@pytest.mark.parametrize("name", ["images.csv", "images.jsonl", "images.zip", "images.tar.gz"])
@pytest.mark.parametrize("kind", ["pipe", "link to /dev/zero", "socket"])
def test_a_source_that_is_no_regular_file_is_refused_at_once(
    tmp_path: Path, name: str, kind: str
) -> None:
    SPECIAL[kind](tmp_path / name)
    with pytest.raises(DataError, match=f"{name} is not a regular file"):
        read_source(tmp_path / name, cache=tmp_path / "cache")
    with suppress(DataError):  # an archive is not opened
        check_source(tmp_path / name)
