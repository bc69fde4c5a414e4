"""A batch that does not fit into memory is processed in parts, with the same results."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from tltool.features.out_of_memory import InParts, MicroBatches, micro_batches

BATCH = tf.constant(np.random.default_rng(0).normal(size=(10, 3)).astype(np.float32))


def fits(limit: int, calls: list[int]) -> InParts:
    """Return a function of a batch that has memory for ``limit`` rows."""

    def double(batch: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        calls.append(len(batch))
        if len(batch) > limit:
            raise tf.errors.ResourceExhaustedError(None, None, "OOM when allocating tensor")
        return 2 * batch, tf.cast(batch, tf.bfloat16)

    return InParts(double, "features")


@pytest.mark.parametrize(("limit", "rows"), [(10, None), (9, 5), (5, 5), (4, 3), (2, 2)])
def test_parts_give_the_rows_of_the_whole_batch(limit, rows):
    reports, calls = [], []
    current = MicroBatches(report=lambda *report: reports.append(report))
    with micro_batches(current):
        for _ in range(2):
            doubled, rounded = fits(limit, calls)(BATCH)
            np.testing.assert_array_equal(doubled, 2 * BATCH)
            np.testing.assert_array_equal(rounded, tf.cast(BATCH, tf.bfloat16))
    assert current.rows.get("features") == rows
    # the second time, and by another function of the same kind, the size that fits is known
    assert sum(count > limit for count in calls) == len(reports)
    assert [now for _, _, now in reports] == [5, 3, 2][: len(reports)]


@pytest.mark.parametrize("limit", [0, 1])
def test_it_gives_up_after_three_halvings(limit):
    calls: list[int] = []
    with pytest.raises(tf.errors.ResourceExhaustedError, match="OOM"):
        fits(limit, calls)(tf.ones((32, 1)))
    assert calls == [32, 16, 8, 4]


def test_a_single_row_and_other_errors_are_not_repeated():
    calls: list[int] = []
    with pytest.raises(tf.errors.ResourceExhaustedError):
        fits(0, calls)(BATCH[:1])

    def full_disk(batch: tf.Tensor) -> tf.Tensor:
        calls.append(len(batch))
        raise tf.errors.ResourceExhaustedError(None, None, "No space left on device")

    with pytest.raises(tf.errors.ResourceExhaustedError):
        InParts(full_disk, "features")(BATCH)
    assert calls == [1, 10]
