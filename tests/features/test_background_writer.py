"""Features are written in a thread: nothing is lost, and no error is swallowed."""

from __future__ import annotations

import errno
import threading
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from tltool.features.background_writer import BackgroundWriter
from tltool.features.feature_store import FeatureStore

COLUMNS = {"index": (np.dtype(np.int64), ())}


def store_in(folder: Path, count: int = 40) -> FeatureStore:
    return FeatureStore(folder, count=count, columns=COLUMNS)


def two_rows(batch: int) -> tf.Tensor:
    return tf.constant([2 * batch, 2 * batch + 1], tf.int64)


def test_rows_are_on_disk_in_order_when_the_context_ends(tmp_path: Path) -> None:
    with BackgroundWriter(store_in(tmp_path)) as writer:
        for batch in range(20):
            writer.append(index=two_rows(batch))
    store = store_in(tmp_path)
    assert store.rows == 40
    np.testing.assert_array_equal(store.columns["index"].read(0, 40), np.arange(40))


@pytest.mark.parametrize("ended_by", [KeyboardInterrupt, ValueError])
def test_an_interrupt_loses_no_row_that_was_handed_over(
    tmp_path: Path, ended_by: type[BaseException]
) -> None:
    writer = BackgroundWriter(store_in(tmp_path))
    with pytest.raises(ended_by), writer:
        for batch in range(5):
            writer.append(index=two_rows(batch))
        raise ended_by
    store = store_in(tmp_path)
    assert store.rows == 10
    np.testing.assert_array_equal(store.columns["index"].read(0, 10), np.arange(10))


@pytest.mark.parametrize("broken", ["append", "commit"])
@pytest.mark.parametrize("batches", [1, 20])
def test_an_error_of_the_disk_is_raised_and_leaves_no_gap(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, broken: str, batches: int
) -> None:
    store = store_in(tmp_path)
    calls = iter(range(100))
    working = getattr(store, broken)

    def fails_once(**rows: np.ndarray) -> None:
        if next(calls) == 0:
            raise OSError(errno.EIO, "input/output error")
        working(**rows)

    monkeypatch.setattr(store, broken, fails_once)
    with pytest.raises(OSError, match="input/output"), BackgroundWriter(store) as writer:
        for batch in range(batches):
            writer.append(index=two_rows(batch))
    assert store_in(tmp_path).rows == 0


def test_the_disk_is_not_waited_for_until_three_batches_are_in_flight(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, disk, fourth = store_in(tmp_path), threading.Event(), threading.Event()
    append = store.append

    def slowly(**rows: np.ndarray) -> None:
        assert disk.wait(20)
        append(**rows)

    monkeypatch.setattr(store, "append", slowly)
    with BackgroundWriter(store) as writer:
        for batch in range(3):
            writer.append(index=two_rows(batch))  # returns, although nothing can be written

        def hand_over_a_fourth() -> None:
            writer.append(index=two_rows(3))
            fourth.set()

        thread = threading.Thread(target=hand_over_a_fourth)
        thread.start()
        assert not fourth.wait(0.2)
        disk.set()
        thread.join(20)
        assert fourth.is_set()
    assert store_in(tmp_path).rows == 8
