"""Cached activations in memory and on disk, and which view an epoch sees."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import psutil
import pytest

from tltool.errors import EnvironmentProblem
from tltool.features import store as store_module
from tltool.features.extract import Features
from tltool.features.store import BFLOAT16, ActivationStore, reserve
from tltool.features.views import rows_of_epoch, shuffled_order


def values(shape: tuple[int, ...]) -> np.ndarray:
    return np.random.default_rng(0).normal(0, 100, shape).astype(ml_dtypes.bfloat16)


@pytest.mark.parametrize("fraction", [0.5, 1e-15], ids=["memory", "disk"])
def test_an_array_gives_back_what_was_written(tmp_path, fraction):
    store = ActivationStore(tmp_path / "cache", ram_fraction=fraction)
    array = store.allocate((7, 3, 3, 5))
    assert array.dtype == BFLOAT16
    expected = values(array.shape)
    for start in range(0, 7, 2):
        array[start : start + 2] = expected[start : start + 2]
    np.testing.assert_array_equal(array.view(np.uint16), expected.view(np.uint16))
    assert store.spilled == (fraction < 0.1)


def test_arrays_go_to_disk_only_beyond_the_budget(tmp_path, monkeypatch):
    monkeypatch.setattr(psutil, "virtual_memory", lambda: type("Memory", (), {"available": 1000})())
    store = ActivationStore(tmp_path / "cache", ram_fraction=0.5)  # 500 bytes
    store.allocate((100,))
    assert not store.spilled
    store.allocate((200,))
    assert store.spilled
    store.allocate((150,))
    assert len(list((tmp_path / "cache").iterdir())) == 1


def test_clearing_removes_the_files_and_leaves_the_arrays_usable(tmp_path):
    store = ActivationStore(tmp_path / "cache", ram_fraction=1e-15)
    array = store.allocate((10,))
    array[:] = values((10,))
    store.clear()
    assert not (tmp_path / "cache").exists()
    np.testing.assert_array_equal(array.view(np.uint16), values((10,)).view(np.uint16))


def test_no_room_on_the_disk_is_told_before_anything_is_written(tmp_path, monkeypatch):
    monkeypatch.setattr(
        store_module.shutil, "disk_usage", lambda _: type("Usage", (), {"free": 100})()
    )
    store = ActivationStore(tmp_path / "cache", ram_fraction=1e-15)
    with pytest.raises(EnvironmentProblem, match="no room"):
        store.allocate((1000,))
    assert list((tmp_path / "cache").iterdir()) == []


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


@pytest.mark.parametrize("count", [1, 10, 101])
@pytest.mark.parametrize("number", [1, 3])
def test_every_photo_comes_once_per_epoch_in_one_view(count, number):
    views = views_of(count, number)
    for epoch in range(1, 5):
        rows = rows_of_epoch(views, seed=0, epoch=epoch)
        photos = [int(views[view].index[row]) for view, row in rows]
        assert sorted(photos) == list(range(count))


def test_every_photo_meets_all_its_views_in_turn():
    views = views_of(20, 4)
    seen: dict[int, set[int]] = {photo: set() for photo in range(20)}
    for epoch in range(1, 5):
        for view, row in rows_of_epoch(views, seed=0, epoch=epoch):
            seen[int(views[view].index[row])].add(view)
    assert all(met == {0, 1, 2, 3} for met in seen.values())


def test_every_epoch_mixes_the_views():
    views = views_of(200, 4)
    used = np.bincount([view for view, _ in rows_of_epoch(views, seed=0, epoch=1)], minlength=4)
    assert used.min() > 25


def test_the_order_is_a_function_of_seed_and_epoch():
    first = shuffled_order(50, seed=0, epoch=1)
    np.testing.assert_array_equal(first, shuffled_order(50, seed=0, epoch=1))
    assert sorted(first) == list(range(50))
    assert not np.array_equal(first, shuffled_order(50, seed=0, epoch=2))
    assert not np.array_equal(first, shuffled_order(50, seed=1, epoch=1))
