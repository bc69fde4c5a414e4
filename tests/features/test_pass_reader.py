"""Passes over images are read one after another by one iterator, whatever happens to a pass."""

from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest
import tensorflow as tf

from tltool.features.pass_reader import PassReader

SIGNATURE = [tf.TensorSpec([None], tf.int64)]


@dataclass
class Doubles:
    """Batches of two doubled numbers; a negative number is an error."""

    prepared: list[None] = field(default_factory=list)

    def __call__(self, numbers: tf.Tensor) -> tf.data.Dataset:
        self.prepared.append(None)

        def double(number: tf.Tensor) -> tf.Tensor:
            with tf.control_dependencies([tf.debugging.assert_non_negative(number)]):
                return number * 2

        return tf.data.Dataset.from_tensor_slices(numbers).map(double).batch(2).prefetch(2)


def read(reader: PassReader, *numbers: int) -> Iterator[list[int]]:
    request = [tf.constant(numbers, tf.int64)]
    for batch in reader.read(request, count=-(-len(numbers) // 2)):
        yield batch.numpy().tolist()  # type: ignore[attr-defined]


@pytest.fixture
def doubles() -> Doubles:
    return Doubles()


def test_later_passes_need_no_preparation(doubles: Doubles) -> None:
    reader = PassReader(doubles, SIGNATURE)
    assert list(read(reader, 1, 2, 3)) == [[2, 4], [6]]
    assert list(read(reader)) == []
    assert list(read(reader, 4)) == [[8]]
    assert len(doubles.prepared) == 1


def test_a_pass_that_is_not_read_to_its_end_does_not_leak_into_the_next(doubles: Doubles) -> None:
    reader = PassReader(doubles, SIGNATURE)
    assert next(read(reader, 1, 2, 3, 4, 5, 6)) == [2, 4]
    assert list(read(reader, 7)) == [[14]]


def test_after_an_error_the_next_pass_is_read(doubles: Doubles) -> None:
    reader = PassReader(doubles, SIGNATURE)
    with pytest.raises(tf.errors.InvalidArgumentError):
        list(read(reader, 1, 2, -3))
    assert list(read(reader, 7)) == [[14]]


def test_passes_can_be_read_at_the_same_time(doubles: Doubles) -> None:
    reader = PassReader(doubles, SIGNATURE)
    both = zip(read(reader, 1, 2, 3), read(reader, 4, 5, 6), strict=True)
    assert list(both) == [([2, 4], [8, 10]), ([6], [12])]
    assert len(doubles.prepared) == 2
    assert list(read(reader, 9)) == [[18]]
    assert len(doubles.prepared) == 2
