"""TensorFlow Datasets as sources: prepared, mocked, from folders, and not available."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow_datasets as tfds
from PIL import Image

from tltool.data.sources.open import read_source
from tltool.data.sources.sample_sets import tfds_download
from tltool.data.sources.sample_sets.tfds import DatasetName, parse_name
from tltool.data.sources.sample_sets.tfds_download import download_dataset
from tltool.errors import DataError, EnvironmentProblem
from tltool.events import SilentObserver

N = 4


class Shapes(tfds.core.GeneratorBasedBuilder):
    """Circles and squares, as a user would define a data set."""

    VERSION = tfds.core.Version("1.0.0")
    BUILDER_CONFIGS = [  # noqa: RUF012
        tfds.core.BuilderConfig(name="jpeg"),
        tfds.core.BuilderConfig(name="arrays"),
        tfds.core.BuilderConfig(name="boxes"),
        tfds.core.BuilderConfig(name="contest"),  # whose test images have no labels
        tfds.core.BuilderConfig(name="words"),  # whose labels are texts, some of them in Latin-1
    ]

    def _info(self) -> tfds.core.DatasetInfo:
        kind = self.builder_config.name
        image = tfds.features.Image(shape=(None, None, 3), encoding_format="jpeg")
        if kind == "arrays":
            image = tfds.features.Tensor(shape=(8, 8, 1), dtype=np.uint8)
        features = {"image": image, "label": tfds.features.ClassLabel(names=["circle", "square"])}
        if kind == "boxes":
            features["label"] = tfds.features.Sequence(features["label"])
        if kind == "words":
            features["label"] = tfds.features.Text()
        keys = None if kind == "boxes" else ("image", "label")
        features = tfds.features.FeaturesDict(features)
        return tfds.core.DatasetInfo(builder=self, features=features, supervised_keys=keys)

    def _split_generators(self, dl_manager: Any) -> dict[str, Any]:
        return {name: self._generate_examples(seed) for seed, name in enumerate(self.splits)}

    splits = ("train", "test", "extra")

    def _generate_examples(self, seed: int) -> Iterator[tuple[int, dict[str, Any]]]:
        rng = np.random.default_rng(seed)
        for number in range(2 * N):
            kind = self.builder_config.name
            channels = 1 if kind == "arrays" else 3
            pixels = rng.integers(0, 256, (8, 8, channels), np.uint8)
            label: Any = -1 if kind == "contest" and seed else number % 2
            if kind == "words":
                label = (b"B\xc3\xa4r", b"B\xe4r" if seed else b"Wolf")[number % 2]
            yield number, {"image": pixels, "label": [label] if kind == "boxes" else label}


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tfds")
    for config in ("jpeg", "arrays", "boxes", "contest", "words"):
        tfds.disable_progress_bar()
        Shapes(data_dir=folder, config=config).download_and_prepare()
    return folder


@pytest.fixture
def at_home(prepared: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Make ``prepared`` the default folder of data sets."""
    monkeypatch.setattr(tfds.core.constants, "DATA_DIR", str(prepared))
    return prepared


@pytest.mark.parametrize(
    ("spelling", "parts"),
    [
        ("tfds:mnist", ("mnist", None, None)),
        ("tfds:oxford_iiit_pet@train+test", ("oxford_iiit_pet", None, "train+test")),
        ("tfds:cifar10_corrupted:brightness_1", ("cifar10_corrupted", "brightness_1", None)),
        ("tfds:a:b/1.0.0@train[:80%]", ("a", "b/1.0.0", "train[:80%]")),
    ],
)
def test_names_are_parsed(spelling: str, parts: tuple[str | None, ...]) -> None:
    assert parse_name(spelling) == DatasetName(*parts)


@pytest.mark.parametrize("spelling", ["tfds:", "tfds:../x", "tfds:a b", "tfds:a@", "tfds:@train"])
def test_invalid_names(spelling: str) -> None:
    with pytest.raises(DataError, match="is not a name of TensorFlow Datasets"):
        read_source(spelling)


def test_images_without_labels_are_an_error(at_home: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="of the split 'test' has no label"):
        read_source("tfds:shapes:contest", offline=True, cache=tmp_path)
    listing = read_source("tfds:shapes:contest@train", offline=True, cache=tmp_path)
    assert Counter(item.label for item in listing.items) == {"circle": N, "square": N}


def test_labels_that_are_texts_must_be_utf8(at_home: Path, tmp_path: Path) -> None:
    listing = read_source("tfds:shapes:words@train", offline=True, cache=tmp_path)
    assert Counter(item.label for item in listing.items) == {"Bär": N, "Wolf": N}
    message = r"class of image \d of the split 'test'.*b'B\\xe4r' is not valid UTF-8"
    with pytest.raises(DataError, match=message):
        read_source("tfds:shapes:words", offline=True, cache=tmp_path)


def test_a_prepared_data_set_by_name_opens_no_connection(at_home: Path, tmp_path: Path) -> None:
    listing = read_source("tfds:shapes:jpeg", offline=True, cache=tmp_path)
    count = Counter((item.label, item.given_split) for item in listing.items)
    assert count == {(c, s): N for c in ("circle", "square") for s in ("train", "test")}
    # encoded bytes stay as they were stored
    stored = tfds.load(
        "shapes/jpeg",
        split="train",
        data_dir=at_home,
        decoders={"image": tfds.decode.SkipDecoding()},
        read_config=tfds.ReadConfig(interleave_cycle_length=1),
    )
    files = [item.path for item in listing.items if item.given_split == "train"]
    assert [path.read_bytes() for path in files] == [row["image"] for row in tfds.as_numpy(stored)]
    assert {path.suffix for path in files} == {".jpg"}


def test_an_explicit_split_of_a_data_set_is_split_by_tltool(at_home: Path, tmp_path: Path) -> None:
    listing = read_source("tfds:shapes:jpeg@train[:50%]+extra", offline=True, cache=tmp_path)
    assert len(listing.items) == 3 * N
    assert {item.given_split for item in listing.items} == {None}


def test_images_stored_as_arrays_become_png(prepared: Path, tmp_path: Path) -> None:
    listing = read_source(f"tfds-folder:{prepared / 'shapes' / 'arrays'}", cache=tmp_path)
    first = next(item for item in listing.items if item.given_split == "train")
    builder = Shapes(data_dir=prepared, config="arrays")
    how = tfds.ReadConfig(interleave_cycle_length=1)
    example = next(iter(tfds.as_numpy(builder.as_dataset(split="train", read_config=how))))
    np.testing.assert_array_equal(np.asarray(Image.open(first.path)), example["image"][..., 0])


def test_a_folder_of_several_data_sets(prepared: Path) -> None:
    with pytest.raises(DataError, match=r"several data sets: 'arrays/1\.0\.0', 'boxes/1\.0\.0'"):
        read_source(f"tfds-folder:{prepared / 'shapes'}")


def test_an_image_folder_is_read_as_by_tensorflow_datasets(tmp_path: Path) -> None:
    for split in ("train", "test"):
        for label in ("ant", "bee"):
            (tmp_path / "d" / split / label).mkdir(parents=True)
            for n in range(2):
                Image.new("RGB", (4, 4), (n, 0, 0)).save(
                    tmp_path / "d" / split / label / f"{n}.png"
                )
    listing = read_source(f"tfds-folder:{tmp_path / 'd'}")
    theirs = tfds.ImageFolder(str(tmp_path / "d"))
    names = theirs.info.features["label"].names
    for split in ("train", "test"):
        rows = tfds.as_numpy(theirs.as_dataset(split=split))
        expected = sorted((row["image/filename"].decode(), names[row["label"]]) for row in rows)
        ours = [(str(i.path), i.label) for i in listing.items if i.given_split == split]
        assert sorted(ours) == expected


def test_a_mocked_data_set(prepared: Path, tmp_path: Path) -> None:
    with tfds.testing.mock_data(num_examples=5, data_dir=str(prepared)):
        listing = read_source("tfds:shapes:jpeg@train", cache=tmp_path)
    assert len(listing.items) == 5
    assert {item.label for item in listing.items} <= {"circle", "square"}
    assert all(np.asarray(Image.open(item.path)).shape[-1] == 3 for item in listing.items)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("tfds:tf_flower", "no data set 'tf_flower'. Did you mean 'tfds:tf_flowers'"),
        ("tfds:shapes:jpg", "shapes has no config 'jpg'. Did you mean 'jpeg'"),
        ("tfds:shapes:jpeg@holdout", "holdout.*train"),
        (
            "tfds:shapes:boxes",
            "not a data set of images with one label each; its features are 'image', 'label'",
        ),
    ],
)
def test_a_wrong_name_in_one_sentence(
    at_home: Path, tmp_path: Path, source: str, message: str
) -> None:
    with pytest.raises(DataError, match=message) as raised:
        read_source(source, offline=True, cache=tmp_path)
    assert "\n" not in raised.value.message


def test_offline_only_prepared_data_sets_are_used(at_home: Path, monkeypatch: Any) -> None:
    monkeypatch.setenv("TLTOOL_OFFLINE", "1")
    started = time.monotonic()
    with pytest.raises(EnvironmentProblem, match="tf_flowers is not prepared in") as raised:
        read_source("tfds:tf_flowers")
    assert time.monotonic() - started < 20
    assert "tfds build tf_flowers" in str(raised.value.hint)


@pytest.fixture
def silent_proxy(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A network that accepts every connection and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"http://127.0.0.1:{server.getsockname()[1]}"
        for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
            monkeypatch.setenv(name, address)
        monkeypatch.delenv("no_proxy", raising=False)
        yield


BUSY = """
import os, pathlib, sys, time
print("ready", flush=True)
here = pathlib.Path(sys.argv[2], "downloads")
end = time.monotonic() + 4
while time.monotonic() < end:
    folder = here / "data.incomplete"
    folder.mkdir(parents=True, exist_ok=True)
    for n in range(50):
        (folder / f"{n}").write_bytes(b"x")
    folder.rename(here / "data")
    for n in range(50):
        (here / "data" / f"{n}").unlink()
    (here / "data").rmdir()
"""


@pytest.mark.thorough
def test_files_that_are_renamed_while_they_are_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tfds_download, "_PROGRAM", BUSY)
    monkeypatch.setattr(tfds_download, "_POLL_SECONDS", 0.001)
    download_dataset("busy", tmp_path, observer=SilentObserver())


@pytest.mark.slow
def test_a_network_that_never_answers_is_a_timeout(silent_proxy: None, tmp_path: Path) -> None:
    with pytest.raises(EnvironmentProblem, match="no data received for 2 s") as raised:
        download_dataset("tf_flowers", tmp_path, observer=SilentObserver(), first_byte=2)
    assert "TFDS_DATA_DIR" in str(raised.value.hint)


@pytest.mark.slow
def test_a_refused_connection_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    monkeypatch.delenv("no_proxy", raising=False)
    with pytest.raises(EnvironmentProblem, match=r"cannot be downloaded \(Connection refused\)"):
        download_dataset("tf_flowers", tmp_path, observer=SilentObserver(), first_byte=60)


def test_other_sources_load_no_tensorflow(tmp_path: Path) -> None:
    program = (
        "import sys\nfrom tltool.data.sources.open import read_source\n"
        "try: read_source('nowhere')\nexcept Exception as e: print(type(e).__name__)\n"
        "sys.exit('tensorflow' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True)
    assert (done.returncode, done.stdout) == (0, b"DataError\n")
