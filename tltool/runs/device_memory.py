"""Errors of a device, mostly a GPU, whose memory is too small for a batch."""

from __future__ import annotations

import re

from tltool.errors import EnvironmentProblem, first_line

# how TensorFlow's allocators, XLA, cuDNN, cuBLAS and the CUDA driver say it
_MESSAGES = re.compile(
    r"\bOOM\b|\bMemoryError\b|out of memory|out_of_memory|failed to allocate|could not allocate"
    r"|(?:CUDNN|CUBLAS|CUFFT|CUSOLVER|CUSPARSE)_STATUS_(?:INTERNAL_ERROR_\w*)?ALLOC",
    re.IGNORECASE,
)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether TensorFlow says that the memory of a device is full.

    Errors of the GPU's libraries count too: cuDNN and cuBLAS report that they could not allocate
    as an internal or unknown error. The class of the error is known by its module, because
    importing TensorFlow takes seconds. A full disk is no full memory.

    Examples:
        >>> import tensorflow as tf
        >>> is_out_of_memory(tf.errors.InternalError(None, None, "CUBLAS_STATUS_ALLOC_FAILED"))
        True
    """
    of_tensorflow = type(error).__module__.startswith("tensorflow")
    return of_tensorflow and says_out_of_memory(str(error))


def says_out_of_memory(text: str) -> bool:
    """Whether a message of TensorFlow or of another process is that of a full memory."""
    return _MESSAGES.search(text) is not None


def memory_problem(error: BaseException) -> EnvironmentProblem:
    """Return the error for the user for a memory that is full."""
    return EnvironmentProblem(
        f"the memory is full ({first_line(error)})",
        hint="smaller batches need less: --set train.batch_size=8",
    )
