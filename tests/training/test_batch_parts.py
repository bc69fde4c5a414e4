"""A batch is divided into parts that together are the batch."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st

from tltool.training.batch_parts import equal_parts, rows_of, split_rows

SIZES = st.integers(1, 300)


@given(SIZES, SIZES, st.integers(1, 8))
def test_each_row_is_in_one_part_and_each_device_has_rows(size, largest, devices):
    parts = split_rows(size, largest=largest, devices=devices)
    rows = [row for part in parts for row in range(size)[part]]
    lengths = [part.stop - part.start for part in parts]
    assert rows == list(range(size))
    assert max(lengths) - min(lengths) <= 1
    assert max(lengths) <= largest or min(lengths) < 2 * devices
    assert min(lengths) >= min(devices, size)


@given(SIZES, st.integers(1, 8))
def test_devices_get_what_numpy_gives_them(size, count):
    expected = np.array_split(np.arange(size), count)
    for part, wanted in zip(equal_parts(size, count), expected, strict=True):
        np.testing.assert_array_equal(np.arange(size)[part], wanted)


def test_a_batch_without_a_limit_is_one_part():
    assert split_rows(7, largest=None, devices=2) == [slice(0, 7)]


@pytest.mark.parametrize("make", [np.asarray, tf.constant])
def test_rows_are_taken_from_arrays_and_tensors(make):
    batch = make(np.arange(12.0).reshape(6, 2))
    np.testing.assert_array_equal(rows_of(batch, slice(2, 5)), np.arange(4.0, 10.0).reshape(3, 2))
