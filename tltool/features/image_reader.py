"""The graphs that decode, augment and label images in one pass over an `ImageSource`."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

import tensorflow as tf

from tltool.augment.spec import AugmentSpec
from tltool.data.decoding.decode_spec import DecodeSpec
from tltool.data.decoding.graph_tracing import without_autograph
from tltool.data.pipeline import ImageFiles, image_dataset
from tltool.features.decoded_images import PixelType, decoded_dataset
from tltool.features.pass_reader import PassReader

if TYPE_CHECKING:
    from tltool.augment.augmenter import Augmenter

LabelledImage = tuple[tf.Tensor, tf.Tensor, tf.Tensor]  # draw number, image, label

# The network is far slower than decoding: two batches suffice to overlap and keep memory small.
_BATCHES_AHEAD = 2

_REQUEST = (
    tf.TensorSpec([None], tf.string),  # paths
    tf.TensorSpec([None], tf.string),  # digests
    tf.TensorSpec([], tf.string),  # file of decoded images
    tf.TensorSpec([None], tf.int64),  # labels
    tf.TensorSpec([None], tf.float32),  # weights
    tf.TensorSpec([None], tf.int64),  # order
    tf.TensorSpec([2], tf.int32),  # key
    tf.TensorSpec([], tf.int64),  # first
)


# Tracing takes a second: passes that differ only in images, order and epoch share one graph. A run
# uses up to four; each keeps some 20 MB.
@lru_cache(maxsize=4)
def image_reader(
    decode: DecodeSpec,
    augment: AugmentSpec,
    classes: int,
    batch_size: int,
    pixels: PixelType | None,
    on_gpu: bool,
) -> PassReader:
    """Return a reader of passes.

    A request is (paths, digests [N], file of decoded images, labels, weights [N], order [M], key
    [2], first); the file is read if ``pixels``, the type of its pixels, is not None.

    ``order`` holds positions of images, plus N for each earlier draw of the same image; the sum
    seeds its augmentation. ``first`` is the number of the first batch. With ``on_gpu`` the batches
    are those that ``Augmenter.transform`` takes.
    """
    augmenter = (
        None if augment.identity else shared_augmenter(augment, (decode.height, decode.width))
    )

    def batches(
        paths: tf.Tensor,
        digests: tf.Tensor,
        decoded: tf.Tensor,
        labels: tf.Tensor,
        weights: tf.Tensor,
        order: tf.Tensor,
        key: tf.Tensor,
        first: tf.Tensor,
    ) -> tf.data.Dataset:
        count = tf.shape(labels, tf.int64)[0]

        def labelled(draw: tf.Tensor, image: tf.Tensor) -> LabelledImage:
            """Add the label of one image or of each image of a batch."""
            index = draw % count
            weight = tf.gather(weights, index)[..., tf.newaxis]
            return draw, image, tf.one_hot(tf.gather(labels, index), classes) * weight

        if pixels is None:
            images = image_dataset(ImageFiles(paths, digests), decode, order=order % count)
            examples = tf.data.Dataset.zip(tf.data.Dataset.from_tensor_slices(order), images).map(
                without_autograph(lambda draw, decoded: labelled(draw, decoded[1]))
            )
        else:
            examples = decoded_dataset(
                decoded, decode, pixels=pixels, count=count, draws=order, batch_size=batch_size
            ).map(without_autograph(labelled))
            if augmenter is not None:
                examples = examples.unbatch().map(without_autograph(_in_float32))
        if augmenter is not None:
            read = augmenter.drawn_batches if on_gpu else augmenter.batches
            result = read(examples, key=key, batch_size=batch_size, first=first)
        else:
            result = examples.batch(batch_size) if pixels is None else examples
        return result.prefetch(_BATCHES_AHEAD)

    return PassReader(without_autograph(batches), list(_REQUEST))


def _in_float32(draw: tf.Tensor, image: tf.Tensor, label: tf.Tensor) -> LabelledImage:
    return draw, tf.cast(image, tf.float32), label


@lru_cache(maxsize=4)
def shared_augmenter(spec: AugmentSpec, size: tuple[int, int]) -> Augmenter:
    """Return the augmenter of ``spec`` for images of ``size`` (height, width), built once."""
    from tltool.augment.augmenter import Augmenter  # imports keras-cv, which takes a second

    return Augmenter(spec, size)
