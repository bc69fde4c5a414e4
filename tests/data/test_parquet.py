"""Parquet files with the bytes of images, as the Hugging Face Hub stores them."""

from __future__ import annotations

import io
import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from tests.data.test_tables import Listener
from tltool.data.sources.open import check_source, is_source, read_images, read_source
from tltool.errors import DataError

NAMES = ["ant", "bee"]


def image(number: int, kind: str = "PNG") -> bytes:
    pixels = np.random.default_rng(number).integers(0, 256, (8, 8, 3), np.uint8)
    to = io.BytesIO()
    Image.fromarray(pixels).save(to, kind)
    return to.getvalue()


def features(**classes: list[str]) -> dict[bytes, bytes]:
    """Return the schema's metadata that the library ``datasets`` writes."""
    labels = {name: {"names": names, "_type": "ClassLabel"} for name, names in classes.items()}
    info = {"info": {"features": {"image": {"_type": "Image"}, **labels}}}
    return {b"huggingface": json.dumps(info).encode()}


def shard(
    path: Path, labels: list[Any], *, metadata: dict[bytes, bytes] | None = None, **columns: Any
) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    images = [{"bytes": image(n), "path": f"{n}.png"} for n in range(len(labels))]
    table = pa.table({"image": images, "label": labels, **columns})
    metadata = features(label=NAMES) if metadata is None else metadata
    pq.write_table(table.replace_schema_metadata(metadata), path)
    return path


def counts(source: object, cache: Path, **how: Any) -> Counter[tuple[str, str | None]]:
    listing = read_source(str(source), cache=cache, **how)
    return Counter((item.label, item.given_split) for item in listing.items)


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


def test_a_snapshot_of_the_hub(tmp_path: Path, cache: Path) -> None:
    root = tmp_path / "set"
    for number in range(2):
        shard(root / f"data/train-0000{number}-of-00002.parquet", [0, 1, 0])
    shard(root / "data/validation-00000-of-00001.parquet", [0, 1])
    shard(root / "data/test-00000-of-00001.parquet", [1])
    (root / "README.md").write_text("---\n---\n")
    assert counts(f"parquet:{root}", cache) == {
        ("ant", "train"): 4, ("bee", "train"): 2, ("ant", "validation"): 1,
        ("bee", "validation"): 1, ("bee", "test"): 1,
    }  # fmt: skip
    assert counts(f"parquet:{root}/data/train-*.parquet", cache) == {
        ("ant", None): 4,
        ("bee", None): 2,
    }
    assert counts(root / "data/train-00000-of-00002.parquet", cache).total() == 3


def test_the_bytes_of_the_images_are_unchanged_and_named_by_row(
    tmp_path: Path, cache: Path
) -> None:
    path = shard(tmp_path / "a.parquet", [0, 1])
    listing = read_source(f"parquet:{path}", cache=cache)
    assert [item.path.read_bytes() for item in listing.items] == [image(0), image(1)]
    assert listing.shown(listing.items[0]) == f"parquet:{path}/a/000001.png"
    again = read_source(f"parquet:{path}", cache=cache)
    assert [item.path for item in again.items] == [item.path for item in listing.items]


@pytest.mark.parametrize(
    "layout",
    ["default/train/0000.parquet", "train/0.parquet", "training.parquet", "a-train.parquet"],
)
def test_the_split_is_in_the_name_of_the_file_or_the_folder(
    tmp_path: Path, cache: Path, layout: str
) -> None:
    shard(tmp_path / "set" / layout, [0, 1])
    shard(tmp_path / "set" / layout.replace("train", "test").replace("ing", ""), [0, 1])
    found = counts(f"parquet:{tmp_path / 'set'}", cache)
    assert {split for _, split in found} == {"train", "test"}


@pytest.mark.parametrize(
    ("labels", "metadata", "names"),
    [
        (["ant", "bee", "ant"], {}, {"ant", "bee"}),
        ([3, 4, 3], {}, {"3", "4"}),
        ([3.0, 4.0, 3.0], {}, {"3", "4"}),
        (pa.array(["ant", "bee", "ant"]).dictionary_encode(), {}, {"ant", "bee"}),
        ([True, False, True], {}, {"True", "False"}),
        ([b"ant", b"bee ", b"ant"], {}, {"ant", "bee"}),
        ([1, 0, 1], features(label=["NA", "none"]), {"NA", "none"}),
    ],
)
def test_labels_of_every_type(
    tmp_path: Path, cache: Path, labels: Any, metadata: dict[bytes, bytes], names: set[str]
) -> None:
    path = tmp_path / "a.parquet"
    images = pa.array([image(n) for n in range(3)])
    pq.write_table(
        pa.table({"image": images, "label": labels}).replace_schema_metadata(metadata), path
    )
    assert {label for label, _ in counts(f"parquet:{path}", cache)} == names


@pytest.mark.parametrize(
    ("file", "found"),
    [("set/a.parquet", True), ("set/train/a.parquet", True), ("set/other/a.parquet", False)],
)
def test_names_of_numbers_beside_the_files(
    tmp_path: Path, cache: Path, file: str, found: bool
) -> None:
    path = shard(tmp_path / file, [0, 1], metadata={})
    (tmp_path / "set/classnames.txt").write_text("ant\nbee\n")
    names = ("ant", "bee") if found else ("0", "1")
    assert counts(f"parquet:{path}", cache) == {(name, None): 1 for name in names}


def test_a_column_of_labels_can_be_chosen(tmp_path: Path, cache: Path) -> None:
    names = features(fine=["a", "b", "c"], coarse=["x", "y"])
    images = [image(n) for n in range(3)]
    table = pa.table({"image": images, "fine": [0, 1, 2], "coarse": [0, 0, 1]})
    path = tmp_path / "a.parquet"
    pq.write_table(table.replace_schema_metadata(names), path)
    with pytest.raises(DataError, match="several columns of labels: 'fine', 'coarse'") as raised:
        read_source(f"parquet:{path}", cache=cache)
    assert raised.value.hint.endswith("parquet:PATH#fine")
    assert counts(f"parquet:{path}#fine", cache).total() == 3
    assert counts(f"parquet:{path}#coarse", cache) == {("x", None): 2, ("y", None): 1}
    with pytest.raises(DataError, match=r"no column 'course'.*Did you mean 'coarse'"):
        read_source(f"parquet:{path}#course", cache=cache)


def test_a_split_without_labels_is_left_out_and_reported(tmp_path: Path, cache: Path) -> None:
    shard(tmp_path / "set/train.parquet", [0, 1, 0])
    shard(tmp_path / "set/test.parquet", [-1, -1])
    listener = Listener()
    found = counts(f"parquet:{tmp_path / 'set'}", cache, observer=listener)
    assert found == {("ant", "train"): 2, ("bee", "train"): 1}
    assert any("2 test images" in message for message in listener.messages)
    assert len(read_images(f"parquet:{tmp_path / 'set'}", cache=cache).items) == 5


def test_columns_are_kept_for_slices_and_groups(tmp_path: Path, cache: Path) -> None:
    path = shard(
        tmp_path / "a.parquet", [0, 1], camera=["x", "y\nz"], group=["g", "g"], weight=[0.0, 80.0]
    )
    items = read_source(f"parquet:{path}", cache=cache).items
    assert [dict(item.columns)["camera"] for item in items] == ["x", "y\nz"]
    assert [(item.group, item.weight) for item in items] == [("g", 1.0), ("g", 1.0)]


def test_an_image_without_bytes_is_reported_by_the_audit(tmp_path: Path, cache: Path) -> None:
    images = [{"bytes": image(0), "path": None}, None, {"bytes": image(2), "path": None}]
    path = tmp_path / "a.parquet"
    table = pa.table({"image": images, "label": ["a", "b", "b"]})
    pq.write_table(table, path)
    sizes = [item.path.stat().st_size for item in read_source(f"parquet:{path}", cache=cache).items]
    assert sizes[1] == 0 < min(sizes[0], sizes[2])


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"image": ["a.jpg"], "label": ["a"]}, "no column with the bytes of images.*image .string"),
        ({"image": [b"x"], "text": ["a caption"]}, "no column of labels.*'text'"),
        ({"image": [b"x"], "label": [[0, 1]]}, "not one class per image"),
        ({"a": [b"x"], "b": [b"x"], "label": [0]}, "several columns of images: 'a', 'b'"),
        ({"image": [{"bytes": None, "path": "a.jpg"}], "label": [0]}, r"row 1 has the path"),
        ({"image": [b"x", b"y"], "label": ["a", None]}, "1 of 2 images have no label"),
        ({"image": [b"x"], "label": [None]}, "no image has a label"),
    ],
)
def test_what_is_no_classification_of_images(
    tmp_path: Path, cache: Path, columns: dict[str, Any], message: str
) -> None:
    if columns.get("image") == [{"bytes": None, "path": "a.jpg"}]:
        kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
        columns = {**columns, "image": pa.array(columns["image"], kind)}
    if columns.get("label") == [None]:
        columns = {**columns, "label": pa.array([None], pa.string())}
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table(columns), path)
    with pytest.raises(DataError, match=message) as raised:
        read_source(f"parquet:{path}", cache=cache)
    assert raised.value.hint
    assert "\n" not in raised.value.message


@pytest.mark.parametrize(
    ("files", "message"),
    [
        (["train-00000-of-00003.parquet"], r"2 files of 3 are missing: 'train-00001-of-00003"),
        (["one/train.parquet", "two/train.parquet"], "several data sets in folders: 'one', 'two'"),
        ([], "no files with the extension .parquet"),
    ],
)
def test_an_incomplete_or_ambiguous_folder(tmp_path: Path, files: list[str], message: str) -> None:
    (tmp_path / "set").mkdir()
    for name in files:
        shard(tmp_path / "set" / name, [0, 1])
    for reader in (check_source, read_source):
        with pytest.raises(DataError, match=message):
            reader(f"parquet:{tmp_path / 'set'}")


def test_a_label_without_a_name(tmp_path: Path, cache: Path) -> None:
    path = shard(tmp_path / "a.parquet", [0, 2])
    with pytest.raises(DataError, match=r"row 2: the label is 2, but there are 2 class names"):
        read_source(f"parquet:{path}", cache=cache)


@pytest.mark.parametrize("content", [b"", b"PAR1", b"PAR1" + b"x" * 100 + b"PAR1", b"\x89PNG"])
def test_a_damaged_file(tmp_path: Path, cache: Path, content: bytes) -> None:
    (tmp_path / "a.parquet").write_bytes(content)
    with pytest.raises(DataError, match="cannot be read as Parquet"):
        read_source(f"parquet:{tmp_path / 'a.parquet'}", cache=cache)
    assert not list(cache.glob("a-*"))


def test_a_truncated_file(tmp_path: Path, cache: Path) -> None:
    path = shard(tmp_path / "a.parquet", [0, 1] * 20)
    data = path.read_bytes()
    path.write_bytes(data[:200] + b"\0" * 300 + data[500:])
    with pytest.raises(DataError, match="cannot be read as Parquet"):
        read_source(f"parquet:{path}", cache=cache)


def test_a_bomb_is_rejected(tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tltool.data.sources.archives.extraction_target._ALWAYS_ALLOWED", 1 << 20)
    rows = [b"\x89PNG" + bytes(100_000)] * 400
    table = pa.table({"image": rows, "label": ["a", "b"] * 200})
    pq.write_table(table, tmp_path / "a.parquet", compression="zstd", row_group_size=50)
    with pytest.raises(DataError, match="decompression bomb"):
        read_source(f"parquet:{tmp_path / 'a.parquet'}", cache=cache)


@pytest.mark.parametrize("name", ["parquet:x", "wds:x", "a.parquet", "wds:{0..3}.tar"])
def test_these_are_sources(name: str) -> None:
    assert is_source(name)
    with pytest.raises(DataError, match="there is no file"):
        read_source(name)


def test_files_of_no_split_are_reported(tmp_path: Path, cache: Path) -> None:
    for name in ("train", "test", "extra"):
        shard(tmp_path / f"set/{name}.parquet", [0, 1])
    for _ in range(2):  # the second time from the cache
        listener = Listener()
        counts(f"parquet:{tmp_path / 'set'}", cache, observer=listener)
        assert any("extra.parquet" in message for message in listener.messages)
