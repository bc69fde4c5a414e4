"""Which errors of TensorFlow say that the memory of a device is full."""

from __future__ import annotations

import pytest
import tensorflow as tf

from tltool.runs.device_memory import is_out_of_memory

FULL = [
    (tf.errors.ResourceExhaustedError, "OOM when allocating tensor with shape[32,64,224,224]"),
    (tf.errors.ResourceExhaustedError, "Out of memory while trying to allocate 8589934592 bytes"),
    (tf.errors.ResourceExhaustedError, "failed to allocate memory [Op:AddV2]"),
    (tf.errors.InternalError, "cuDNN launch failure : status: CUDNN_STATUS_ALLOC_FAILED"),
    (tf.errors.InternalError, "CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED"),
    (tf.errors.UnknownError, "failed to create cublas handle: CUBLAS_STATUS_ALLOC_FAILED"),
    (tf.errors.InternalError, "Failed to call cuMemAlloc: CUDA_ERROR_OUT_OF_MEMORY"),
    (tf.errors.NotFoundError, "No algorithm worked!  Error messages: RESOURCE_EXHAUSTED: Out of "
     "memory while trying to allocate 33554432 bytes."),
]  # fmt: skip
OTHERS = [
    tf.errors.ResourceExhaustedError(None, None, "No space left on device"),
    tf.errors.ResourceExhaustedError(None, None, "photo.jpg; Too many open files"),
    tf.errors.InternalError(None, None, "CUDNN_STATUS_EXECUTION_FAILED"),
    tf.errors.InvalidArgumentError(None, None, "there is no room"),
    ValueError("out of memory"),
]


@pytest.mark.parametrize(("kind", "message"), FULL, ids=[message[:30] for _, message in FULL])
def test_allocation_errors_are_recognised(kind, message):
    assert is_out_of_memory(kind(None, None, message))


@pytest.mark.parametrize("error", OTHERS, ids=lambda error: str(error)[:30])
def test_other_errors_are_not(error):
    assert not is_out_of_memory(error)
