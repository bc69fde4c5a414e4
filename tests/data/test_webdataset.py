"""Tar archives of samples in the format of WebDataset."""

from __future__ import annotations

import io
import json
import tarfile
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.data.test_parquet import image
from tests.data.test_tables import Listener
from tltool.data.sources.open import read_images, read_source
from tltool.data.sources.sample_sets.shards import find_shards
from tltool.errors import DataError, TltoolError


def tar(path: Path, *files: tuple[str, bytes | str], mode: str = "w") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, mode) as archive:  # type: ignore[call-overload]
        for name, content in files:
            data = content.encode() if isinstance(content, str) else content
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return path


def samples(*labels: str, kind: str = "cls") -> list[tuple[str, bytes | str]]:
    return [
        file
        for n, label in enumerate(labels)
        for file in ((f"{n:04d}.jpg", image(n, "JPEG")), (f"{n:04d}.{kind}", label))
    ]


def counts(source: object, cache: Path, **how: object) -> Counter[tuple[str, str | None]]:
    listing = read_source(f"wds:{source}", cache=cache, **how)
    return Counter((item.label, item.given_split) for item in listing.items)


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


@pytest.mark.parametrize(
    "pattern", ["", "/{train,val}-{00..01}.tar", "/*.tar", "/{train-*,val-0{0,1}}.tar"]
)
def test_shards_by_folder_and_by_pattern(tmp_path: Path, cache: Path, pattern: str) -> None:
    for split in ("train", "val"):
        for number in range(2):
            tar(tmp_path / f"set/{split}-0{number}.tar", *samples("ant", "bee"))
    assert counts(f"{tmp_path / 'set'}{pattern}", cache) == {
        (label, split): 2 for label in ("ant", "bee") for split in ("train", "validation")
    }


@pytest.mark.parametrize(
    ("kind", "written"),
    [
        ("cls", ("0", "1\n")),
        ("cls", ("ant", " bee\n")),
        ("json", ('{"label": 0, "w": 8}', '{"label": 1}')),
        ("json", ('{"class": "ant"}', '{"class": "bee"}')),
        ("json", ('{"label": 0.0}', '{"label": 1.0}')),
        ("CLS", ("0", "1")),
    ],
)
@pytest.mark.parametrize("names", ["classnames.txt", "dataset_info.json"])
def test_labels_as_numbers_and_names(
    tmp_path: Path, cache: Path, kind: str, written: tuple[str, str], names: str
) -> None:
    path = tar(tmp_path / "set/a.tar", *samples(*written, kind=kind))
    features = {"features": {"label": {"names": ["ant", "bee"], "_type": "ClassLabel"}}}
    text = json.dumps(features) if names.endswith("json") else "ant\nbee\n"
    (path.parent / names).write_text(text)
    listener = Listener()
    assert counts(path, cache, observer=listener) == {("ant", None): 1, ("bee", None): 1}
    assert any(names in message for message in listener.messages)


def test_a_list_of_labels_is_no_list_of_class_names(tmp_path: Path, cache: Path) -> None:
    path = tar(tmp_path / "a.tar", *samples("0", "1"))
    (tmp_path / "labels.txt").write_text("ant\nbee\nant\n")
    with pytest.raises(DataError, match=r"labels.txt has the name 'ant' 2 times"):
        read_source(f"wds:{path}", cache=cache)


def test_numbers_without_names_are_the_classes(tmp_path: Path, cache: Path) -> None:
    path = tar(tmp_path / "a.tar", *samples("3", "7"))
    assert {label for label, _ in counts(path, cache)} == {"3", "7"}


def test_a_field_of_json_can_be_chosen(tmp_path: Path, cache: Path) -> None:
    files = samples('{"label": 1, "breed": "a"}', '{"label": 1, "breed": "b"}', kind="json")
    path = tar(tmp_path / "a.tar", *files)
    assert {label for label, _ in counts(f"{path}#breed", cache)} == {"a", "b"}
    items = read_source(f"wds:{path}#breed", cache=cache).items
    assert dict(items[0].columns)["breed"] == "a"


def test_images_keep_their_name_and_their_bytes(tmp_path: Path, cache: Path) -> None:
    path = tar(tmp_path / "a.tar", *samples("0", "1"))
    listing = read_source(f"wds:{path}", cache=cache)
    assert [item.path.read_bytes() for item in listing.items] == [image(n, "JPEG") for n in (0, 1)]
    assert listing.shown(listing.items[1]) == f"wds:{path}/a/0001.jpg"


@pytest.mark.parametrize(
    ("mode", "name"), [("w:gz", "a.tar.gz"), ("w:gz", "a.tgz"), ("w", "a.tar")]
)
def test_folders_inside_and_compression(tmp_path: Path, cache: Path, mode: str, name: str) -> None:
    files = [(f"./x/{file}", content) for file, content in samples("0", "1")]
    path = tar(tmp_path / name, ("README", "text"), (".hidden", ""), *files, mode=mode)
    assert counts(path, cache).total() == 2


def test_other_images_of_a_sample_are_reported(tmp_path: Path, cache: Path) -> None:
    files = [("1.seg.png", image(1)), ("1.jpg", image(2)), ("1.cls", "a"), ("1.txt", "caption")]
    listener = Listener()
    path = tar(tmp_path / "a.tar", *files, *samples("b"))
    listing = read_source(f"wds:{path}", cache=cache, observer=listener)
    assert listing.items[0].path.read_bytes() == image(2)
    assert any("only .jpg is used, not .seg.png" in message for message in listener.messages)


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ([("1.jpg", b"x"), ("1.txt", "a caption")], "no image has a label"),
        ([("1.jpg", b"x"), ("1.json", '{"caption": "x"}')], "no image has a label"),
        ([("1.jpg", b"x"), *samples("a")], "1 of 2 images have no label, such as a/1.jpg"),
        ([("1.jpg", b"x"), ("1.png", b"x"), ("1.cls", "0")], "several images: 'jpg', 'png'"),
        ([("1.jpg", b"x"), ("1.json", "{")], "the .json file is not valid"),
        ([("1.jpg", b"x"), ("1.json", '{"label": [1, 2]}')], "the label is a list"),
        ([("1.jpg", b"x"), ("1.cls", b"\xff")], "not text in UTF-8"),
        ([("1.jpg", b"x"), ("2.jpg", b"x"), ("1.cls", "0"), ("2.cls", "0")], "has no image, only"),
        ([*samples("0", "1"), *samples("0")], "two samples named"),
        ([*samples("0"), *samples("0")], "the sample '0000' has too many files"),
        ([(f"x.{n}.jpg", b"x") for n in range(20)], "the sample 'x' has too many files"),
        ([("1.jpg", b"x"), ("1.cls", "0"), ("1.cls", "1")], "the sample '1' has too many files"),
        ([(f"{'n' * 300}.jpg", b"x"), (f"{'n' * 300}.cls", "0")], "name that cannot be written"),
        ([("../1.jpg", b"x"), ("../1.cls", "0")], "path outside itself"),
    ],
)
def test_what_is_no_classification_of_images(
    tmp_path: Path, cache: Path, files: list[tuple[str, bytes | str]], message: str
) -> None:
    path = tar(tmp_path / "a.tar", *files)
    with pytest.raises(DataError, match=message) as raised:
        read_source(f"wds:{path}", cache=cache)
    assert str(path) in raised.value.message


@pytest.mark.parametrize(
    ("files", "hint"),
    [
        ([("1.jpg", b"x"), ("1.txt", "ant")], "belongs in 0001.cls, not in .txt"),
        ([("1.5.jpg", b"x"), ("1.5.cls", "ant")], "ends at its first dot"),
        ([("1.5.jpg", b"x"), ("1.6.jpg", b"x"), ("1.5.cls", "0")], "ends at its first dot"),
    ],
)
def test_the_hint_says_where_the_label_of_a_sample_belongs(
    tmp_path: Path, cache: Path, files: list[tuple[str, bytes | str]], hint: str
) -> None:
    for _ in ("written", "from the cache"):
        with pytest.raises(DataError) as raised:
            read_source(f"wds:{tar(tmp_path / 'a.tar', *files)}", cache=cache)
        assert hint in (raised.value.hint or "")


def test_a_link_in_an_archive_is_refused(tmp_path: Path, cache: Path) -> None:
    path = tmp_path / "a.tar"
    with tarfile.open(path, "w") as archive:
        member = tarfile.TarInfo("1.jpg")
        member.type, member.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(member)
    with pytest.raises(DataError, match=r"contains the link '1\.jpg'"):
        read_source(f"wds:{path}", cache=cache)


def test_a_truncated_archive(tmp_path: Path, cache: Path) -> None:
    path = tar(tmp_path / "a.tar", *samples("0", "1"))
    path.write_bytes(path.read_bytes()[:3000])
    with pytest.raises(DataError, match="damaged"):
        read_source(f"wds:{path}", cache=cache)


def test_samples_without_labels_are_for_prediction(tmp_path: Path, cache: Path) -> None:
    path = tar(tmp_path / "a.tar", ("1.jpg", image(1)), ("2.jpg", image(2)))
    assert len(read_images(f"wds:{path}", cache=cache).items) == 2


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        (
            "train-{000..003}.tar",
            r"no file '\S*train-001.tar', '\S*train-002.tar' and 1 more|no file",
        ),
        ("none-*.tar", "no file"),
        ("{0..999999}.tar", "more than 100,000 files"),
        ("http://host/{0..9}.tar", "not a local file"),
        ("pipe:cat a.tar", "not a local file"),
    ],
)
def test_patterns_that_name_missing_files(tmp_path: Path, pattern: str, message: str) -> None:
    tar(tmp_path / "train-000.tar", *samples("0"))
    location = pattern if ":" in pattern else f"{tmp_path}/{pattern}"
    with pytest.raises(DataError, match=message):
        find_shards(f"wds:{location}", location, (".tar",))


@settings(
    max_examples=100, deadline=2000, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["1.jpg", "1.cls", "1.json", "2.png", "2.cls", "x", ".y", "a/1.jpg"]),
            st.sampled_from([b"", b"0", b"-1", b"cat", b"{}", b'{"label": 1}', b"[0]", b"\xff"]),
        ),
        max_size=6,
    )
)
def test_any_archive_gives_images_or_one_sentence(
    tmp_path: Path, files: list[tuple[str, bytes]]
) -> None:
    path = tar(tmp_path / "a.tar", *files)
    for reader in (read_source, read_images):
        try:
            listing = reader(f"wds:{path}", cache=tmp_path / "cache")
        except TltoolError as error:
            assert "\n" not in error.message
        else:
            assert all(item.path.is_file() for item in listing.items)
