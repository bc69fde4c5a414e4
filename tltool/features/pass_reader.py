"""One tf.data iterator that reads passes over images one after another."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import tensorflow as tf

from tltool.data.decoding.graph_tracing import without_autograph
from tltool.data.pipeline import fixed_options

Batch = tuple[tf.Tensor, tf.Tensor, tf.Tensor]


class PassReader:
    """Reads passes with an iterator that is made once.

    Making an iterator prepares every function of its dataset, which takes 0.5 to 0.9 s of CPU time
    for the functions that decode images. Here the requests for passes are the elements of an outer
    dataset, so that only the first pass prepares the functions.

    Args:
        batches: returns the batches of one pass for tensors of ``signature``.
        signature: of the tensors of a request.
    """

    def __init__(
        self, batches: Callable[..., tf.data.Dataset], signature: Sequence[tf.TensorSpec]
    ) -> None:
        self._batches, self._signature = batches, signature
        self._idle: list[tuple[Any, Iterator[Batch]]] = []  # the queue and the iterator of each

    def read(self, request: Sequence[tf.Tensor], count: int) -> Iterator[Batch]:
        """Yield the ``count`` batches of a pass.

        A pass that is not read to its end, or that raises an error, leaves its iterator unusable;
        it is dropped. Passes that are read at the same time have an iterator each.

        Args:
            request: the tensors of the request.
            count: the number of batches of this pass.
        """
        if not count:
            return
        requests, batches = self._idle.pop() if self._idle else self._open()
        with tf.device("/CPU:0"):
            requests.enqueue(request)
        for _ in range(count):
            yield next(batches)
        self._idle.append((requests, batches))

    def _open(self) -> tuple[Any, Iterator[Batch]]:
        with tf.init_scope(), tf.device("/CPU:0"):
            requests = tf.queue.FIFOQueue(1, [spec.dtype for spec in self._signature])
            each = tf.data.Dataset.counter().map(
                without_autograph(lambda _: self._next_request(requests))
            )
            passes = each.flat_map(self._batches).with_options(fixed_options())
            return requests, iter(passes)

    def _next_request(self, requests: Any) -> tuple[tf.Tensor, ...]:
        tensors = zip(tf.nest.flatten(requests.dequeue()), self._signature, strict=True)
        return tuple(tf.ensure_shape(tensor, spec.shape) for tensor, spec in tensors)
