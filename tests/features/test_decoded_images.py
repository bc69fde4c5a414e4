"""Images that are decoded once are those that every epoch would decode."""

from __future__ import annotations

import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from tests.conftest import PhotoMaker, flip_bit
from tltool.augment.spec import AugmentSpec
from tltool.data.decoding.decode_spec import DecodeSpec
from tltool.data.sources.folders.folder import read_folder
from tltool.errors import EnvironmentProblem
from tltool.events import SilentObserver
from tltool.features import image_source
from tltool.features.decoded_images import PixelType
from tltool.features.image_source import ImageSource
from tltool.features.sampler import Sampler

QUIET = SilentObserver()
WEIGHTS = np.linspace(0.5, 2, 10, dtype=np.float32)


def source_of(make_photos: PhotoMaker) -> ImageSource:
    items = read_folder(make_photos(n=5, size=24)).items
    labels = np.array([item.label == "dog" for item in items], np.int64)
    return ImageSource(items, labels, 2, DecodeSpec(16, 12), batch_size=4, weights=WEIGHTS)


def joined(batches) -> list[np.ndarray]:
    return [np.concatenate(part) for part in zip(*batches, strict=True)]


@pytest.mark.parametrize("pixels", ["float32", "uint8"])
def test_decoded_images_are_those_of_the_files(
    make_photos: PhotoMaker, tmp_path: Path, pixels: PixelType
) -> None:
    files = source_of(make_photos)
    decoded = files.decode_once(tmp_path / "decoded", pixels, QUIET)
    shutil.rmtree(files.items[0].path.parents[1])  # no file is read again
    for balanced in (False, True):
        sampler = Sampler(files.labels, seed=3, balanced=balanced)
        drawn = joined(decoded.sampled(AugmentSpec(), sampler, epoch=2))
        assert drawn[1].dtype == pixels
        assert len(drawn[0]) == 10
        stored = np.concatenate([images for _, images, _ in decoded.original()])
        np.testing.assert_array_equal(drawn[1], stored[drawn[0] % 10])
    assert [len(batch[0]) for batch in decoded.original(start=4)] == [4, 2]


@pytest.mark.parametrize("pixels", ["float32", "uint8"])
def test_passes_over_decoded_images_equal_those_over_files(
    make_photos: PhotoMaker, tmp_path: Path, pixels: PixelType
) -> None:
    files = source_of(make_photos)
    decoded = files.decode_once(tmp_path / "decoded", pixels, QUIET)
    sampler = Sampler(files.labels, seed=3)
    flip = AugmentSpec("horizontal")  # moves pixels and changes none, so rounding commutes with it
    passes = [
        (joined(each.original()), joined(each.sampled(flip, sampler, epoch=1)))
        for each in (files, decoded)
    ]
    for one, other in zip(*passes, strict=True):
        np.testing.assert_array_equal(one[0], other[0])
        np.testing.assert_array_equal(one[2], other[2])
        expected = one[1] if pixels == "float32" else np.rint(one[1])
        np.testing.assert_array_equal(expected, other[1])
        assert np.abs(one[1] - np.rint(one[1])).max() > 0.1  # else it would show nothing
    assert files.digest() == decoded.digest()


def test_an_interrupted_decoding_goes_on_where_it_stopped(
    make_photos: PhotoMaker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = source_of(make_photos)
    whole = files.decode_once(tmp_path / "whole", "uint8", QUIET)

    class Interrupts(SilentObserver):
        def on_progress(self, done: int, total: int, *, unit: str = "images") -> None:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        files.decode_once(tmp_path / "decoded", "uint8", Interrupts())
    starts: list[int] = []
    original = ImageSource.original

    def recorded(self, *, start: int = 0):
        starts.append(start)
        return original(self, start=start)

    monkeypatch.setattr(image_source.ImageSource, "original", recorded)
    resumed = files.decode_once(tmp_path / "decoded", "uint8", QUIET)
    assert files.decode_once(tmp_path / "decoded", "uint8", QUIET) == resumed
    assert starts == [4]
    assert whole.decoded is not None
    assert resumed.decoded is not None
    assert whole.decoded.path.read_bytes() == resumed.decoded.path.read_bytes()


def test_a_full_disk_names_the_decoded_images(
    make_photos: PhotoMaker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=100))
    with pytest.raises(EnvironmentProblem, match="of decoded images") as problem:
        source_of(make_photos).decode_once(tmp_path / "decoded", "uint8", QUIET)
    assert "train.cache_decoded=off" in str(problem.value.hint)


@pytest.mark.parametrize("pixels", ["float32", "uint8"])
def test_damaged_decoded_images_are_decoded_again(
    make_photos: PhotoMaker, tmp_path: Path, pixels: PixelType
) -> None:
    files = source_of(make_photos)
    decoded = files.decode_once(tmp_path / "decoded", pixels, QUIET)
    before = joined(decoded.original())
    assert decoded.decoded is not None
    path = decoded.decoded.path
    whole = path.read_bytes()
    for position in (0, 700, len(whole) - 1):
        flip_bit(path, position)
    for one, other in zip(before, joined(decoded.original()), strict=True):
        np.testing.assert_array_equal(one, other)
    assert path.read_bytes() == whole
