"""Names in archives without an encoding: UTF-8, code pages, backslashes."""

from __future__ import annotations

import os
import struct
import zipfile
import zlib
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.data.test_archives import member, write_tar
from tests.data.test_folder import Listener
from tltool.data.sources.archives.archive_names import decode_names
from tltool.data.sources.open import read_source

GERMAN = ("Münze", "Äpfel", "Straße")
RUSSIAN = ("Кот", "собака", "Ёлка")
CHINESE = ("猫", "汽车", "正常")
JAPANESE = ("猫", "いぬ", "トラック")
KOREAN = ("고양이", "강아지", "자동차")
TRADITIONAL = ("貓", "汽車", "獅子")


class RawName(zipfile.ZipInfo):
    """An entry whose name is written as these bytes, without the flag of UTF-8."""

    def __init__(self, raw: bytes, extra: bytes = b"") -> None:
        super().__init__("x")
        self.raw, self.extra = raw, extra

    def _encodeFilenameFlags(self) -> tuple[bytes, int]:
        return self.raw, 0


def write_raw_zip(path: Path, *entries: RawName) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for number, entry in enumerate(entries):
            entry.filename = f"{number}"  # what Python warns of must differ
            archive.writestr(entry, b"x%d" % number)
    return path


def named(path: Path, names: tuple[str, ...], encoding: str) -> Path:
    return write_raw_zip(path, *(RawName(f"all/{name}/1.png".encode(encoding)) for name in names))


@pytest.mark.parametrize("names", [GERMAN, RUSSIAN, CHINESE, KOREAN])
def test_utf8_without_the_flag_is_read_without_a_warning(
    names: tuple[str, ...], tmp_path: Path
) -> None:
    listener = Listener()
    listing = read_source(named(tmp_path / "a.zip", names, "utf-8"), observer=listener)
    assert {item.label for item in listing.items} == set(names)
    assert len(listener.messages) == 1  # extracting


@pytest.mark.parametrize(
    ("encoding", "names"),
    [
        *((page, GERMAN) for page in ("cp437", "cp850", "cp1252")),
        ("cp850", ("São Paulo", "Ávila", "Évora")),
        ("cp1250", ("kočka", "žába", "Łódź")),
        *((page, RUSSIAN) for page in ("cp866", "cp1251")),
        *((page, CHINESE) for page in ("gb2312", "gbk")),
        ("cp932", JAPANESE),
        ("euc_kr", KOREAN),
        ("big5", TRADITIONAL),
    ],
)
def test_the_code_page_is_guessed_and_reported_in_every_run(
    encoding: str, names: tuple[str, ...], tmp_path: Path
) -> None:
    path = named(tmp_path / "a.zip", names, encoding)
    for _ in range(2):
        listener = Listener()
        listing = read_source(path, cache=tmp_path / "cache", observer=listener)
        assert {item.label for item in listing.items} == set(names)
        (reported,) = [m for m in listener.messages if "encoding of the file names" in m]
        assert f"all/{names[0]}/1.png" in reported


@pytest.mark.parametrize(("encoding", "names"), [("cp1252", GERMAN), ("gbk", CHINESE)])
def test_the_code_page_of_folders_in_a_tar_is_guessed_and_reported(
    encoding: str, names: tuple[str, ...], tmp_path: Path
) -> None:
    files = [
        f"{name}/{number}.png".encode(encoding) for name in (*names, "plain") for number in "12"
    ]
    members = [member(os.fsdecode(name), b"x") for name in files]
    listener = Listener()
    listing = read_source(write_tar(tmp_path / "a.tar", *members), observer=listener)
    assert Counter(item.label for item in listing.items) == dict.fromkeys((*names, "plain"), 2)
    assert any("encoding of the file names" in message for message in listener.messages)


def test_the_extra_field_for_unicode_names_is_used(tmp_path: Path) -> None:
    raw = b"all/M\x81/1.png"
    text = "all/ünïcödé/1.png".encode()
    extra = struct.pack("<HHBL", 0x7075, 5 + len(text), 1, zlib.crc32(raw)) + text
    wrong = struct.pack("<HHBL", 0x7075, 5 + len(text), 1, 0) + text  # of a name before a change
    path = write_raw_zip(tmp_path / "a.zip", RawName(raw, extra), RawName(b"all/cat/1.png", wrong))
    assert {item.label for item in read_source(path).items} == {"ünïcödé", "cat"}


def test_folder_entries_with_backslashes_are_folders(tmp_path: Path) -> None:
    folders = [RawName(name) for name in (b"all\\", b"all\\ant\\", b"all\\bee")]
    folders[2].external_attr = 0x10  # a folder of DOS, without a slash at the end
    files = [RawName(f"all\\{name}\\1.png".encode()) for name in ("ant", "bee")]
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for number, entry in enumerate([*folders, *files]):
            entry.filename = f"{number}"
            archive.writestr(entry, b"" if entry in folders else b"x")
    assert [item.label for item in read_source(path).items] == ["ant", "bee"]


@given(st.lists(st.binary(max_size=12), max_size=5))
def test_any_bytes_are_names(raw: list[bytes]) -> None:
    members = []
    for name in raw:
        member = zipfile.ZipInfo("x")
        member.orig_filename = name.decode("cp437")
        members.append(member)
    decoded = decode_names(members)
    assert len(decoded.names) == len(raw)
    assert (decoded.encoding is None) or not all(name.isascii() for name in raw)


@given(st.lists(st.text(max_size=12).filter(lambda name: "\0" not in name), max_size=5))
def test_names_with_the_flag_are_kept(names: list[str]) -> None:
    members = []
    for name in names:
        member = zipfile.ZipInfo("x")
        member.orig_filename, member.flag_bits = name, 0x800
        members.append(member)
    assert decode_names(members).names == [name.replace("\\", "/") for name in names]
