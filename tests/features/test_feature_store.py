"""Cached features on disk, and which view an epoch sees."""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import replace
from functools import partial

import ml_dtypes
import numpy as np
import pytest

from tests.conftest import flip_bit
from tltool.augment.spec import AugmentSpec, WithProbability
from tltool.data.decoding.decode_spec import DecodeSpec
from tltool.data.sources.folders.folder import read_folder
from tltool.errors import EnvironmentProblem
from tltool.events import SilentObserver
from tltool.features import stored_rows
from tltool.features.extract import Features
from tltool.features.feature_store import BFLOAT16, FeatureStore, reserve
from tltool.features.image_source import ImageSource
from tltool.features.sampler import Sampler, rows_of_epoch, shuffled_order

EVERYTHING = AugmentSpec(
    "horizontal", (0.5, 1.5), 0.4, 0.4, 1.0, rotation=20, noise=WithProbability(20, 0.5)
)
COLUMNS = {"index": (np.dtype(np.int64), ()), "activations": (BFLOAT16, (3, 3, 5))}


def values(count: int) -> np.ndarray:
    numbers = np.random.default_rng(0).normal(0, 100, (count, 3, 3, 5))
    return numbers.astype(ml_dtypes.bfloat16)


def bits(array: np.ndarray) -> np.ndarray:
    return array.view(np.uint16)


def filled(folder, count: int, *, rows: int, commit: bool = True) -> FeatureStore:
    store = FeatureStore(folder, count=count, columns=COLUMNS)
    for start in range(store.rows, rows, 2):
        part = slice(start, min(start + 2, rows))
        store.append(index=np.arange(count)[part], activations=values(count)[part])
    if commit:
        store.commit()
    return store


def test_a_pass_gives_back_what_was_written(tmp_path):
    columns = filled(tmp_path / "pass", 7, rows=7).columns
    np.testing.assert_array_equal(columns["index"].read(0, 7), np.arange(7))
    np.testing.assert_array_equal(bits(columns["activations"].read(2, 5)), bits(values(7)[2:5]))
    np.testing.assert_array_equal(bits(columns["activations"].read(5, 99)), bits(values(7)[5:]))
    chosen = [6, 0, 6, 3]
    np.testing.assert_array_equal(
        bits(columns["activations"].take(chosen)), bits(values(7)[chosen])
    )


def test_a_large_column_is_mapped_after_its_checksums_were_compared(tmp_path, monkeypatch):
    column = filled(tmp_path / "pass", 7, rows=7).columns["activations"]
    in_memory = column.whole()
    monkeypatch.setattr(stored_rows, "_MEMORY_SHARE", 0)
    mapped = column.whole()
    assert isinstance(mapped.base, np.memmap) and not mapped.flags.writeable
    for rows in (in_memory, mapped, mapped[[3, 0]]):
        expected = values(7)[[3, 0]] if len(rows) == 2 else values(7)
        np.testing.assert_array_equal(bits(np.ascontiguousarray(rows)), bits(expected))
    flip_bit(column.path, column.path.stat().st_size // 2)
    with pytest.raises(EnvironmentProblem, match="checksums do not match in 1 of 7 rows"):
        column.whole()


def test_a_second_process_goes_on_after_the_last_committed_row(tmp_path):
    filled(tmp_path / "pass", 7, rows=4)
    store = filled(tmp_path / "pass", 7, rows=4, commit=False)
    assert store.rows == 4
    store.append(index=np.array([99]), activations=values(1))  # never committed: written again
    again = filled(tmp_path / "pass", 7, rows=7)
    np.testing.assert_array_equal(again.columns["index"].read(0, 7), np.arange(7))
    assert FeatureStore(tmp_path / "pass", count=7, columns=COLUMNS).rows == 7


@pytest.mark.parametrize("damage", ["{", '{"rows": 7}', "[]", "", "more rows"])
def test_damaged_or_foreign_progress_starts_the_pass_anew(tmp_path, damage):
    filled(tmp_path / "pass", 7, rows=7)
    progress = tmp_path / "pass" / "progress.json"
    more = progress.read_text().replace('"rows": 7', '"rows": 8')
    progress.write_text(more if damage == "more rows" else damage)
    assert FeatureStore(tmp_path / "pass", count=7, columns=COLUMNS).rows == 0


def test_progress_of_another_shape_starts_the_pass_anew(tmp_path):
    filled(tmp_path / "pass", 7, rows=7)
    other = {**COLUMNS, "activations": (BFLOAT16, (3, 3, 4))}
    assert FeatureStore(tmp_path / "pass", count=7, columns=other).rows == 0


def test_progress_never_claims_more_rows_than_were_committed(tmp_path):
    filled(tmp_path / "pass", 7, rows=6, commit=False)
    assert not (tmp_path / "pass" / "progress.json").exists()
    filled(tmp_path / "pass", 7, rows=2)
    assert json.loads((tmp_path / "pass" / "progress.json").read_text())["rows"] == 2


class Warnings(SilentObserver):
    def __init__(self) -> None:
        self.texts: list[str] = []

    def on_message(self, text: str, *, level: str = "info") -> None:
        assert level == "warning"
        self.texts.append(text)


def write_again(store: FeatureStore, rows: list[int]) -> None:
    for row in rows:
        store.columns["index"].write(row, np.array([row]))
        store.columns["activations"].write(row, values(7)[row : row + 1])


@pytest.mark.parametrize("name", ["index", "activations"])
@pytest.mark.parametrize("reopened", [True, False])
def test_every_flipped_bit_is_noticed_and_the_row_computed_again(tmp_path, name, reopened):
    store, warnings = filled(tmp_path / "pass", 7, rows=7), Warnings()
    if reopened:
        store = FeatureStore(tmp_path / "pass", count=7, columns=COLUMNS)
    asked: list[list[int]] = []

    def compute(rows: list[int]) -> None:
        asked.append(rows)
        write_again(store, rows)

    store.repair_with(compute, warnings)
    stored = store.columns[name].path
    stride = stored.stat().st_size // 7
    for position in (0, stride - 1, 3 * stride, 6 * stride + 1):
        flip_bit(stored, position)
    rows = store.columns[name].take([5, 3, 6, 0])
    expected = {"index": np.arange(7), "activations": values(7)}[name][[5, 3, 6, 0]]
    np.testing.assert_array_equal(rows.view(np.uint8), expected.view(np.uint8))
    assert asked == [[0, 3, 6]]
    (text,) = warnings.texts
    assert "3 rows of cached activations in" in text
    assert "are computed again" in text
    store.columns[name].read(0, 7)  # they are mended on the disk too
    assert len(asked) == 1


def test_a_row_that_cannot_be_mended_is_an_error_not_a_number(tmp_path):
    store = filled(tmp_path / "pass", 7, rows=7)
    flip_bit(store.columns["activations"].path, 5)
    with pytest.raises(EnvironmentProblem, match=r"do not match in 1 of 7 rows"):
        store.columns["activations"].take([0])
    store.repair_with(lambda _: None, SilentObserver())  # the disk damages it again
    with pytest.raises(EnvironmentProblem, match=r"activations.bin' is damaged"):
        store.columns["activations"].take([0])


def test_rows_that_another_process_cut_off_are_computed_again(tmp_path):
    store = filled(tmp_path / "pass", 7, rows=7)
    os.truncate(store.columns["activations"].path, 100)
    store.repair_with(partial(write_again, store), SilentObserver())
    read = store.columns["activations"].read(0, 7)
    np.testing.assert_array_equal(bits(read), bits(values(7)))


def test_a_full_disk_is_reported_before_anything_is_written(tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda _: type("Usage", (), {"free": 100})())
    with pytest.raises(
        EnvironmentProblem, match=r"no space .*: 0 MiB are free, and the run needs 256 MiB"
    ):
        FeatureStore(tmp_path / "pass", count=1000, columns=COLUMNS)
    assert list((tmp_path / "pass").iterdir()) == []


def test_a_reserved_file_owns_its_blocks(tmp_path):
    reserve(tmp_path / "a.bin", 1 << 20)
    status = (tmp_path / "a.bin").stat()
    assert status.st_size == 1 << 20
    assert status.st_blocks * 512 >= 1 << 20


def views_of(count: int, views: int) -> list[Features]:
    rng = np.random.default_rng(0)
    return [
        Features(
            index=rng.permutation(count),
            labels=np.zeros((count, 2), np.float32),
            pooled=np.zeros((count, 1), np.float32),
            activations=None,
        )
        for _ in range(views)
    ]


def each_once(count: int) -> Sampler:
    return Sampler(np.zeros(count, np.int64), seed=0)


@pytest.mark.parametrize("count", [1, 10, 101])
@pytest.mark.parametrize("number", [1, 3])
def test_every_image_is_used_once_per_epoch_in_one_view(count, number):
    views = views_of(count, number)
    for epoch in range(1, 5):
        rows = rows_of_epoch(views, each_once(count), epoch)
        positions = [int(views[view].index[row]) for view, row in rows]
        assert sorted(positions) == list(range(count))


def test_every_image_cycles_through_all_its_views():
    views = views_of(20, 4)
    seen: dict[int, set[int]] = {image: set() for image in range(20)}
    for epoch in range(1, 5):
        for view, row in rows_of_epoch(views, each_once(20), epoch):
            seen[int(views[view].index[row])].add(view)
    assert all(met == {0, 1, 2, 3} for met in seen.values())


def test_every_epoch_mixes_the_views():
    views = views_of(200, 4)
    used = np.bincount(rows_of_epoch(views, each_once(200), 1)[:, 0], minlength=4)
    assert used.min() > 25


def test_the_order_is_a_function_of_seed_and_epoch():
    first = shuffled_order(50, seed=0, epoch=1)
    np.testing.assert_array_equal(first, shuffled_order(50, seed=0, epoch=1))
    assert sorted(first) == list(range(50))
    assert not np.array_equal(first, shuffled_order(50, seed=0, epoch=2))
    assert not np.array_equal(first, shuffled_order(50, seed=1, epoch=1))


@pytest.mark.parametrize("start", [4, 8])
def test_a_resumed_pass_gives_exactly_the_remaining_images(make_photos, start):
    items = read_folder(make_photos(n=5, size=24)).items
    labels = np.array([item.label == "dog" for item in items], np.int64)
    source = ImageSource(items, labels, 2, DecodeSpec(16, 16), batch_size=4)
    whole = list(source.augmented(EVERYTHING, seed=3, epoch=2))
    rest = list(source.augmented(EVERYTHING, seed=3, epoch=2, start=start))
    assert len(rest) == len(whole) - start // 4
    for one, other in zip(whole[start // 4 :], rest, strict=True):
        for part, again in zip(one, other, strict=True):
            np.testing.assert_array_equal(part, again)


@pytest.mark.slow
def test_cached_views_equal_the_first_epochs_without_cache(make_photos):
    items = read_folder(make_photos(n=5, size=24)).items
    labels = np.array([item.label == "dog" for item in items], np.int64)
    source = ImageSource(items, labels, 2, DecodeSpec(16, 16), batch_size=4)
    for number in (1, 2, 3):
        cached = source.augmented(EVERYTHING, seed=3, epoch=number)
        live = source.sampled(EVERYTHING, Sampler(labels, seed=3), epoch=number)
        for one, other in zip(cached, live, strict=True):
            for part, again in zip(one, other, strict=True):
                np.testing.assert_array_equal(part, again)


def test_an_image_drawn_twice_in_an_epoch_is_augmented_differently(make_photos):
    items = read_folder(make_photos(n=5, size=24)).items
    labels = np.array([0] * 9 + [1], np.int64)
    source = ImageSource(items, labels, 2, DecodeSpec(16, 16), batch_size=4)
    spec = AugmentSpec(crop=(0.3, 1.5))

    def drawn(sampler: Sampler) -> list[np.ndarray]:
        batches = list(source.sampled(spec, sampler, epoch=1))
        return [np.concatenate(part) for part in zip(*batches, strict=True)]

    draws, images, one_hot = drawn(Sampler(labels, seed=0, balanced=True))
    repeated = images[draws % 10 == 9]
    assert len(repeated) == 5
    assert len(np.unique(repeated, axis=0)) == 5
    assert one_hot.sum(axis=0).tolist() == [5, 5]
    # the first time it is as it would be without balance
    _, once, _ = drawn(Sampler(labels, seed=0))
    plain = {image.tobytes() for image in once}
    assert sum(image.tobytes() in plain for image in repeated) == 1


@pytest.mark.thorough
def test_image_weights_are_in_the_labels_also_when_blended(make_photos):
    items = read_folder(make_photos(n=4, size=24)).items
    labels = np.array([0] * 4 + [1] * 4, np.int64)
    weights = np.array([2] * 4 + [0.5] * 4, np.float32)
    source = ImageSource(items, labels, 2, DecodeSpec(16, 16), batch_size=8, weights=weights)
    for spec in (AugmentSpec(), AugmentSpec(mixup=1.0), AugmentSpec(cutmix=1.0)):
        batches = source.augmented(spec, seed=0, epoch=1)
        found = np.concatenate([batch[2] for batch in batches])
        # each row's shares, the weights taken out again, sum to one
        np.testing.assert_allclose(found @ [1 / 2, 1 / 0.5], 1, rtol=1e-5)
    assert source.digest() != replace(source, weights=None).digest()
