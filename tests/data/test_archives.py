"""Zip and tar archives as sources: extracted once, and their content is not trusted."""

from __future__ import annotations

import errno
import gzip
import io
import os
import shutil
import stat
import tarfile
import time
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.conftest import flip_bit
from tests.data.test_folder import Listener
from tltool.data.sources.grouping import assign_groups
from tltool.data.sources.open import read_images, read_source
from tltool.errors import DataError, EnvironmentProblem, TltoolError

TREE = {"cat/1.jpg": b"c1", "cat/2.jpg": b"c2", "dog/1.jpg": b"d1"}


def write_zip(path: Path, files: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return path


def member(name: str, data: bytes = b"", **fields: object) -> tuple[tarfile.TarInfo, bytes]:
    info = tarfile.TarInfo(name)
    info.size = len(data)
    for key, value in fields.items():
        setattr(info, key, value)
    return info, data


def write_tar(path: Path, *members: tuple[tarfile.TarInfo, bytes], mode: str = "w") -> Path:
    with tarfile.open(path, mode) as archive:  # type: ignore[call-overload]
        for info, data in members:
            archive.addfile(info, io.BytesIO(data))
    return path


def write_files(path: Path, files: dict[str, bytes]) -> Path:
    return write_tar(path, *(member(name, data) for name, data in files.items()))


def zip_of_pairs(path: Path, *pairs: tuple[str, bytes]) -> Path:
    with zipfile.ZipFile(path.with_suffix(".zip"), "w") as archive, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # zipfile warns of names that it has written before
        for name, data in pairs:
            archive.writestr(name, data)
    return path.with_suffix(".zip")


def tar_of_pairs(path: Path, *pairs: tuple[str, bytes]) -> Path:
    return write_tar(path.with_suffix(".tar"), *(member(*pair) for pair in pairs))


def tree_tar(path: Path, mode: str = "w", *more: tuple[tarfile.TarInfo, bytes]) -> Path:
    return write_tar(path, *(member(name, data) for name, data in TREE.items()), *more, mode=mode)


def listed(source: Path, **how: object) -> list[tuple[str, str, bytes]]:
    listing = read_source(source, **how)
    return [
        (item.path.relative_to(listing.root).as_posix(), item.label, item.path.read_bytes())
        for item in listing.items
    ]


EXPECTED = [(name, name.split("/")[0], data) for name, data in TREE.items()]
MAKERS: dict[str, Callable[[Path], Path]] = {
    "a.zip": lambda path: write_zip(path, TREE),
    "a.tar": tree_tar,
    "a.tar.gz": lambda path: tree_tar(path, "w:gz"),
    "a.tgz": lambda path: tree_tar(path, "w:gz"),
    "a.tar.bz2": lambda path: tree_tar(path, "w:bz2"),
    "a.tar.xz": lambda path: tree_tar(path, "w:xz"),
    "really a tar.zip": tree_tar,
    "A.ZIP": lambda path: write_zip(path, TREE),
}


@pytest.mark.parametrize("name", MAKERS)
def test_an_archive_is_listed_like_a_folder(name: str, tmp_path: Path) -> None:
    assert listed(MAKERS[name](tmp_path / name)) == EXPECTED


def test_split_folders_inside_an_archive_are_recognised(tmp_path: Path) -> None:
    files = {f"photos/{s}/{c}/1.jpg": b"x" for s in ("training", "valid") for c in "ab"}
    listing = read_source(write_zip(tmp_path / "a.zip", files))
    assert {item.given_split for item in listing.items} == {"train", "validation"}
    assert (listing.root / "valid" / "a" / "1.jpg").is_file()


@pytest.mark.parametrize("around", ["photos/", "a/b/", "./", "__MACOSX/x\0photos/"])
def test_a_top_level_folder_is_not_a_class(around: str, tmp_path: Path) -> None:
    extra, _, prefix = around.rpartition("\0")
    files = {f"{prefix}{name}": data for name, data in TREE.items()}
    if extra:
        files |= {"__MACOSX/photos/cat/._1.jpg": b"m", ".DS_Store": b"s"}
    assert listed(write_zip(tmp_path / "a.zip", files)) == EXPECTED


def test_backslashes_in_zip_names_separate_folders(tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in TREE.items():
            info = zipfile.ZipInfo("x")
            info.filename = name.replace("/", "\\")
            archive.writestr(info, data)
    assert listed(path) == EXPECTED


@pytest.mark.parametrize("pack", [zip_of_pairs, tar_of_pairs])
def test_files_with_the_same_name_are_all_kept_and_reported(
    pack: Callable[..., Path], tmp_path: Path
) -> None:
    pairs = [("a/cat/1.jpg", b"c1"), ("a/cat/1.jpg", b"c2"), ("a/cat/1.jpg", b"c3")]
    path = pack(tmp_path / "twice", *pairs, ("a/dog/1.jpg", b"d1"), ("a/dog/1.jpg", b"d1"))
    for _ in range(2):  # the second time from the cache
        listener = Listener()
        found = listed(path, cache=tmp_path / "cache", observer=listener)
        assert found == [
            ("cat/1 (2).jpg", "cat", b"c2"),
            ("cat/1 (3).jpg", "cat", b"c3"),
            ("cat/1.jpg", "cat", b"c1"),
            ("dog/1.jpg", "dog", b"d1"),  # the same content twice is nothing lost
        ]
        assert any("2 files have the same name" in message for message in listener.messages)


def test_links_inside_a_zip_give_a_file_a_second_name(tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    links = {"dog/2.jpg": "3.jpg", "dog/3.jpg": "../cat/1.jpg", "dog/4.jpg": "gone.jpg"}
    with zipfile.ZipFile(path, "w") as archive:
        for name, target in links.items():
            info = zipfile.ZipInfo(name)
            info.external_attr = (stat.S_IFLNK | 0o777) << 16
            archive.writestr(info, target)
        for name, data in TREE.items():
            archive.writestr(name, data)
    listener = Listener()
    more = [("dog/2.jpg", "dog", b"c1"), ("dog/3.jpg", "dog", b"c1")]
    assert listed(path, observer=listener) == [*EXPECTED, *more]
    assert any("1 links to folders or missing files are skipped" in m for m in listener.messages)


def test_a_zip_with_a_link_to_the_outside_is_rejected(tmp_path: Path) -> None:
    info = zipfile.ZipInfo("cat/link.jpg")
    info.external_attr = (stat.S_IFLNK | 0o777) << 16
    path = write_zip(tmp_path / "a.zip", TREE)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(info, "../../../../etc/passwd")
    rejected(path, "outside itself")


PIXELS = b"label,pixel0,pixel1,pixel2,pixel3\n0,0,0,255,255\n1,255,255,0,0\n"
TABLES = {
    "pixels": {"train.csv": PIXELS, "sample_submission.csv": b"ImageId,Label\n1,0\n"},
    "pixels with a test table": {"d/train.csv": PIXELS, "d/test.csv": b"pixel0,pixel1\n0,1\n"},
    "paths": {"list.csv": b"path,label\nimages/1.jpg,cat\nimages/2.jpg,dog\n",
              "images/1.jpg": b"x", "images/2.jpg": b"y"},
    "JSONL": {"list.jsonl": b'{"path": "1.jpg", "label": "a"}\n{"path": "2.jpg", "label": "b"}\n',
              "1.jpg": b"x", "2.jpg": b"y"},
}  # fmt: skip


@pytest.mark.parametrize("kind", TABLES)
def test_the_one_table_in_an_archive_is_read(kind: str, tmp_path: Path) -> None:
    path = write_zip(tmp_path / "a.zip", TABLES[kind])
    listing = read_source(path)
    assert len({item.label for item in listing.items}) == 2
    assert listing.shown(listing.items[0]).startswith(str(path))


def test_several_tables_in_an_archive_are_named(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "a.zip", {"train.csv": PIXELS, "valid.csv": PIXELS})
    with pytest.raises(DataError, match=r"a\.zip contains no images, but other files") as raised:
        read_source(path)
    assert "extract it, and give the table" in str(raised.value.hint)
    assert "'train.csv', 'valid.csv'" in str(raised.value.hint)


def test_a_table_in_an_archive_without_labels_can_be_predicted(tmp_path: Path) -> None:
    files = {"test.csv": b"pixel0,pixel1,pixel2,pixel3\n0,0,1,1\n1,0,1,0\n"}
    assert len(read_images(write_zip(tmp_path / "a.zip", files)).items) == 2


def test_groups_by_a_column_of_a_table_in_an_archive(tmp_path: Path) -> None:
    rows = b"path,label,nest\n1.jpg,ant,n1\n2.jpg,bee,\n"
    files = {"list.csv": rows, "1.jpg": b"x", "2.jpg": b"y"}
    listing = assign_groups(read_source(write_zip(tmp_path / "a.zip", files)), "Nest")
    assert [item.group for item in listing.items] == ["n1", None]


@pytest.mark.parametrize(
    "others", [{"readme[1].txt": b"x", "licence.pdf": b"%PDF"}, {"meta/list.txt": b"x"}]
)
def test_other_files_beside_the_folder_of_an_archive(
    others: dict[str, bytes], tmp_path: Path
) -> None:
    files = {f"PetImages/{name}": data for name, data in TREE.items()} | others
    found = listed(write_zip(tmp_path / "a.zip", files))
    assert [(name.removeprefix("PetImages/"), *rest) for name, *rest in found] == EXPECTED


def test_an_archive_is_extracted_once_and_again_if_its_copy_was_deleted(tmp_path: Path) -> None:
    archive, cache = write_zip(tmp_path / "a.zip", TREE), tmp_path / "cache"
    root = read_source(archive, cache=cache).root
    first = (root / "cat/1.jpg").stat().st_mtime_ns
    assert listed(archive, cache=cache) == EXPECTED
    assert (root / "cat/1.jpg").stat().st_mtime_ns == first
    (root / "cat/1.jpg").unlink()
    assert listed(archive, cache=cache) == EXPECTED
    shutil.rmtree(cache)
    assert listed(archive, cache=cache) == EXPECTED
    assert [path.name[:6] for path in cache.iterdir()] == ["a.zip-"]


def _flipped(root: Path) -> None:
    flip_bit(root / "cat/1.jpg", 0)


def _exchanged(root: Path) -> None:
    first, second = root / "cat/1.jpg", root / "cat/2.jpg"
    first.rename(root / "x")
    second.rename(first)
    (root / "x").rename(second)


def _linked(root: Path) -> None:
    copy = root.parent / "copy"
    shutil.copyfile(root / "cat/1.jpg", copy)
    (root / "cat/1.jpg").unlink()
    (root / "cat/1.jpg").symlink_to(copy)


def _piped(root: Path) -> None:
    (root / "cat/1.jpg").unlink()
    os.mkfifo(root / "cat/1.jpg")


@pytest.mark.parametrize("damage", [_flipped, _exchanged, _linked, _piped])
def test_a_copy_in_the_cache_that_was_changed_is_made_again(
    tmp_path: Path, damage: Callable[[Path], None]
) -> None:
    archive, cache = write_zip(tmp_path / "a.zip", TREE), tmp_path / "cache"
    damage(read_source(archive, cache=cache).root)
    assert listed(archive, cache=cache) == EXPECTED


def test_links_of_an_archive_are_copies_on_a_disk_without_hard_links(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_links(*_: object) -> None:
        raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))

    monkeypatch.setattr(os, "link", no_links)
    with tarfile.open(tmp_path / "a.tar", "w") as tar:
        for name, data in TREE.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
        link = tarfile.TarInfo("cat/9.jpg")
        link.type, link.linkname = tarfile.LNKTYPE, "cat/1.jpg"
        tar.addfile(link)
    found = {name: data for name, _, data in listed(tmp_path / "a.tar")}
    assert found["cat/9.jpg"] == TREE["cat/1.jpg"]


def test_a_leftover_removed_by_another_process_is_no_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive, cache = write_zip(tmp_path / "a.zip", TREE), tmp_path / "cache"
    cache.mkdir()
    gone = cache / ".partial-gone"  # listed, and finished before it is looked at
    monkeypatch.setattr(Path, "glob", lambda _, pattern: iter([gone]))
    assert listed(archive, cache=cache) == EXPECTED


def test_leftovers_of_a_killed_process_are_removed_after_a_day(tmp_path: Path) -> None:
    archive, cache = write_zip(tmp_path / "a.zip", TREE), tmp_path / "cache"
    for name, age in ((".partial-old", 2 * 86400), (".partial-new", 60)):
        (cache / name).mkdir(parents=True)
        os.utime(cache / name, (time.time() - age,) * 2)
    assert listed(archive, cache=cache) == EXPECTED
    assert sorted(path.name[:6] for path in cache.iterdir()) == [".parti", "a.zip-"]
    assert (cache / ".partial-new").is_dir()


def test_changed_content_gives_another_copy(tmp_path: Path) -> None:
    archive = write_zip(tmp_path / "a.zip", TREE)
    assert listed(archive, cache=tmp_path / "cache") == EXPECTED
    write_zip(archive, {**TREE, "cat/1.jpg": b"C1"})
    assert listed(archive, cache=tmp_path / "cache")[0][2] == b"C1"


def test_a_cache_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file")
    with pytest.raises(EnvironmentProblem, match=r"no copy of a\.zip can be written to"):
        read_source(write_zip(tmp_path / "a.zip", TREE), cache=tmp_path / "cache")


# what is rejected ------------------------------------------------------------------------------

ESCAPES = ["../evil.jpg", "cat/../../evil.jpg", "/etc/evil.jpg", "..\\evil.jpg"]


def rejected(path: Path, message: str) -> None:
    cache = path.parent / "cache"
    with pytest.raises(DataError, match=message) as raised:
        read_source(path, cache=cache)
    assert path.name in raised.value.message
    assert not cache.exists() or not list(cache.iterdir())  # no half-made copy stays
    assert not list(path.parent.parent.glob("evil*"))


@pytest.mark.parametrize("name", ESCAPES)
def test_path_traversal_in_a_zip_is_rejected(name: str, tmp_path: Path) -> None:
    rejected(write_zip(tmp_path / "a.zip", {**TREE, name: b"evil"}), "outside itself")


@pytest.mark.parametrize("name", ESCAPES[:3])
def test_path_traversal_in_a_tar_is_rejected(name: str, tmp_path: Path) -> None:
    rejected(tree_tar(tmp_path / "a.tar", "w", member(name, b"evil")), "outside itself")


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE])
@pytest.mark.parametrize("target", ["/etc/passwd", "../../../../../../etc/passwd"])
def test_a_tar_with_a_link_to_the_outside_is_rejected(
    kind: bytes, target: str, tmp_path: Path
) -> None:
    link = member("cat/link.jpg", type=kind, linkname=target)
    rejected(tree_tar(tmp_path / "a.tar", "w", link), "outside itself")


def test_a_file_below_a_link_of_the_archive_stays_inside(tmp_path: Path) -> None:
    out = tmp_path / "out"
    link = member("cat/way", type=tarfile.SYMTYPE, linkname=str(out))
    through = member("cat/way/evil.jpg", b"evil")
    rejected(tree_tar(tmp_path / "a.tar", "w", link, through), "outside itself")
    assert not out.exists()


def test_links_inside_a_tar_give_a_file_a_second_name(tmp_path: Path) -> None:
    links = (
        member("dog/2.jpg", type=tarfile.LNKTYPE, linkname="cat/1.jpg"),
        member("dog/3.jpg", type=tarfile.SYMTYPE, linkname="../cat/2.jpg"),
        member("dog/4.jpg", type=tarfile.SYMTYPE, linkname="nowhere.jpg"),
    )
    path = tree_tar(tmp_path / "a.tar", "w", *links)
    more = [("dog/2.jpg", "dog", b"c1"), ("dog/3.jpg", "dog", b"c2")]
    assert listed(path) == [*EXPECTED, *more]
    assert not any(item.path.is_symlink() for item in read_source(path).items)


def test_a_file_that_a_tar_links_to_itself_stays(tmp_path: Path) -> None:
    # GNU tar writes this for "tar cf a.tar images photos/cat"
    links = (
        member("cat/1.jpg", type=tarfile.LNKTYPE, linkname="cat/1.jpg"),
        member("dog/2.jpg", type=tarfile.LNKTYPE, linkname="cat/1.jpg"),
        member("./dog/2.jpg", type=tarfile.LNKTYPE, linkname="cat/1.jpg"),
        member("dog/1.jpg", type=tarfile.SYMTYPE, linkname="../cat/2.jpg"),
    )
    path = tree_tar(tmp_path / "a.tar", "w", *links)
    assert listed(path) == [*EXPECTED[:2], ("dog/1.jpg", "dog", b"c2"), ("dog/2.jpg", "dog", b"c1")]


def test_a_tar_whose_name_starts_with_the_signature_of_zip(tmp_path: Path) -> None:
    names = {f"PKLot/{name}": data for name, data in TREE.items()}
    path = write_tar(tmp_path / "a.tar", *(member(name, data) for name, data in names.items()))
    assert listed(path) == EXPECTED


@pytest.mark.parametrize("pack", [write_zip, write_files])
def test_deeply_nested_folders(pack: Callable[..., Path], tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    for more in (1500, 100):
        names = {**TREE, "cat/" + "d/" * more + "1.jpg": b"x"}
        rejected(pack(path, names), "more than 100 nested folders")
    assert len(listed(pack(path, {**TREE, "cat/" + "d/" * 99 + "1.jpg": b"x"}))) == 4


def test_devices_and_pipes_in_a_tar_are_not_created(tmp_path: Path) -> None:
    pipe = member("cat/pipe.jpg", type=tarfile.FIFOTYPE)
    assert listed(tree_tar(tmp_path / "a.tar", "w", pipe)) == EXPECTED


def test_a_zip_bomb_is_rejected(tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for number in range(5):
            archive.writestr(f"cat/{number}.jpg", bytes(60_000_000))
    rejected(path, "decompression bomb")


@pytest.mark.parametrize("pack", [write_zip, write_files])
def test_an_archive_larger_than_the_free_disk_is_not_extracted(
    pack: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = tmp_path / "cache"
    path = pack(tmp_path / "a.zip", {"cat/1.jpg": bytes(10**6), "dog/1.jpg": b"x"})
    room = shutil.disk_usage(tmp_path)._replace(free=10**6)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: room)
    message = r"a\.zip extracts to more than 1 MB.* free disk space"
    with pytest.raises(EnvironmentProblem, match=message) as raised:
        read_source(path, cache=cache)
    assert "TLTOOL_DATA_DIR" in str(raised.value.hint)
    assert not list(cache.iterdir())
    monkeypatch.undo()
    assert len(listed(path)) == 2


@pytest.mark.thorough
def test_a_tar_of_very_many_tiny_files_is_rejected(tmp_path: Path) -> None:
    path = tmp_path / "a.tar.gz"
    header = member("cat/1.jpg")[0].tobuf()
    path.write_bytes(gzip.compress(header * 20_001 + bytes(1024)))
    rejected(path, "contains more than 20,000 files")


def test_a_tar_bomb_is_rejected_before_it_is_read(tmp_path: Path) -> None:
    info = tarfile.TarInfo("cat/1.jpg")
    info.size = 2**40
    path = tmp_path / "a.tar.gz"
    path.write_bytes(gzip.compress(info.tobuf() + bytes(10_000_000)))
    rejected(path, "decompression bomb")


def test_a_tar_header_that_is_too_large_is_not_read(tmp_path: Path) -> None:
    info = tarfile.TarInfo("././@LongLink")
    info.type, info.size = tarfile.GNUTYPE_LONGNAME, 2**33
    path = tmp_path / "a.tar.gz"
    path.write_bytes(gzip.compress(info.tobuf(tarfile.GNU_FORMAT) + bytes(1_000_000)))
    rejected(path, "header is too large")


def test_a_sparse_file_in_a_tar_counts_with_its_full_size(tmp_path: Path) -> None:
    info = tarfile.TarInfo("cat/1.jpg")
    info.pax_headers = {
        "GNU.sparse.major": "0", "GNU.sparse.minor": "1", "GNU.sparse.map": "0,0",
        "GNU.sparse.size": str(2**40), "GNU.sparse.name": "cat/1.jpg",
    }  # fmt: skip
    path = tmp_path / "a.tar"
    with tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as archive:
        archive.addfile(info, io.BytesIO())
    rejected(path, "decompression bomb")


def test_a_negative_size_in_a_tar_does_not_hang(tmp_path: Path) -> None:
    info = tarfile.TarInfo("cat/1.jpg")
    header = bytearray(info.tobuf(tarfile.GNU_FORMAT))
    header[124:136] = b"\xff" + (-1024 % 256**11).to_bytes(11, "big")  # GNU tar's base 256
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    path = tmp_path / "a.tar"
    path.write_bytes(bytes(512) * 0 + bytes(header) + bytes(2048))
    rejected(path, "not a zip or tar archive")


def test_an_unsupported_compression_method_is_not_reported_as_damage(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "a.zip", TREE)
    data = bytearray(path.read_bytes())
    for signature, offset in ((b"PK\x03\x04", 8), (b"PK\x01\x02", 10)):
        place = data.find(signature)
        data[place + offset] = 9
    path.write_bytes(data)
    rejected(
        path, r"compressed with Deflate64, which Python does not support: 1 file \('cat/1\.jpg'\)"
    )
    data[data.find(b"PK\x01\x02") + 10] = 8
    data[data.find(b"PK\x01\x02") + 6] = 99  # the version of ZIP that it takes
    path.write_bytes(data)
    rejected(path, "Python does not support")


def test_an_encrypted_zip_is_rejected(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "a.zip", TREE)
    data = bytearray(path.read_bytes())
    for signature, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        place = data.find(signature)
        data[place + offset] |= 1
    path.write_bytes(data)
    rejected(path, r"encrypted: 1 file \('cat/1\.jpg'\)")


@pytest.mark.parametrize("name", ["a.zip", "a.tar", "a.tar.gz", "a.tar.xz"])
@pytest.mark.parametrize("content", [b"", b"PK", b"these are words", bytes(5000)])
def test_a_file_that_is_not_an_archive(name: str, content: bytes, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"not a zip or tar archive|contains no images"):
        read_source(path)


@pytest.mark.parametrize("name", [name for name in MAKERS if name.startswith("a")])
@pytest.mark.parametrize("share", [0.3, 0.6, 0.9, 0.98])
def test_a_truncated_archive_is_never_accepted(name: str, share: float, tmp_path: Path) -> None:
    whole = MAKERS[name](tmp_path / name).read_bytes()
    if name == "a.tar":
        whole = whole[: 512 * 7]  # tarfile pads to 10 KB of zeros
    (tmp_path / name).write_bytes(whole[: int(len(whole) * share)])
    rejected(tmp_path / name, "not a zip or tar archive")


def test_a_zstandard_archive_has_its_own_error(tmp_path: Path) -> None:
    (tmp_path / "a.tar.zst").write_bytes(b"\x28\xb5\x2f\xfd" + bytes(20))
    rejected(tmp_path / "a.tar.zst", "Zstandard")


def test_the_error_names_the_archive_and_not_the_folder_in_the_cache(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "a.zip", {"readme.txt": b"x"})
    with pytest.raises(DataError, match=r"a\.zip contains no images") as raised:
        read_source(path, cache=tmp_path / "cache")
    assert "cache" not in raised.value.message


@pytest.mark.parametrize("name", ["cat/" + "x" * 300 + ".jpg", "cat/1.jpg/2.jpg"])
def test_file_names_that_cannot_be_written(name: str, tmp_path: Path) -> None:
    rejected(write_zip(tmp_path / "a.zip", {**TREE, name: b"x"}), "cannot be written")


def test_file_names_that_are_not_utf8_are_kept(tmp_path: Path) -> None:
    path = tree_tar(tmp_path / "a.tar", "w", member("cat/caf\udce9.jpg", b"x"))
    assert ("cat/caf\udce9.jpg", "cat", b"x") in listed(path)


# fuzz -----------------------------------------------------------------------------------------


def seeds(folder: Path) -> list[bytes]:
    return [make(folder / name).read_bytes() for name, make in MAKERS.items()]


@pytest.fixture(scope="module")
def fuzzed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[bytes]]:
    folder = tmp_path_factory.mktemp("fuzz")
    return folder, seeds(folder)


@settings(
    max_examples=200, deadline=2000, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_any_bytes_give_images_or_one_sentence(
    data: st.DataObject, fuzzed: tuple[Path, list[bytes]]
) -> None:
    folder, originals = fuzzed
    content = bytearray(data.draw(st.sampled_from(originals)))
    changes = data.draw(
        st.lists(st.tuples(st.integers(0, 4000), st.binary(max_size=8)), max_size=6)
    )
    for place, patch in changes:
        content[place % len(content) : place % len(content) + len(patch)] = patch
    path = folder / data.draw(st.sampled_from(["fuzz.zip", "fuzz.tar.gz"]))
    path.write_bytes(content[: data.draw(st.integers(0, len(content)))])
    try:
        read_images(path, cache=folder / "cache")
    except TltoolError as error:
        assert "\n" not in error.message


NAMES = ("cat/1.jpg", "./cat/1.jpg", "cat", "cat/1.jpg/2.jpg", "dog/2.jpg", "../x.jpg", "/x", "")
KINDS = (tarfile.REGTYPE, tarfile.LNKTYPE, tarfile.SYMTYPE, tarfile.DIRTYPE, tarfile.FIFOTYPE)


@settings(
    max_examples=150, deadline=2000, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    members=st.lists(
        st.tuples(st.sampled_from(NAMES), st.sampled_from(KINDS), st.sampled_from(NAMES)),
        max_size=8,
    )
)
def test_any_members_of_a_tar_give_images_or_one_sentence(
    members: list[tuple[str, bytes, str]], fuzzed: tuple[Path, list[bytes]]
) -> None:
    folder = fuzzed[0] / "in"
    folder.mkdir(exist_ok=True)
    made = [
        member(name, b"x" * (kind == tarfile.REGTYPE), type=kind, linkname=other)
        for name, kind, other in members
    ]
    path = write_tar(folder / "fuzz.tar", member("cat/1.jpg", b"x"), *made)
    try:
        listing = read_images(path, cache=folder / "cache")
        assert all(item.path.read_bytes() == b"x" for item in listing.items)
    except DataError as error:
        assert "\n" not in error.message
    assert sorted(entry.name for entry in folder.iterdir()) in (
        ["cache", "fuzz.tar"], ["fuzz.tar"],
    )  # fmt: skip
