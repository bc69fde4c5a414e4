"""What a worker process does with a piece: check itself, begin the work once, do the piece."""

from __future__ import annotations

import os
from functools import lru_cache
from typing import Any

from threadpoolctl import threadpool_limits

from tltool.engine.signature import check_signature, set_thread_flags
from tltool.engine.work import Piece, Record, Work, begin, error_record
from tltool.runs.keras_setup import claim_keras, load_keras


def do_piece(
    table: str,
    name: str,
    arguments: dict[str, Any],
    number: int,
    piece_input: Any,
    expected: dict[str, str],
    threads: int,
    thread_flags: dict[str, str],
) -> Record:
    """Return the record of a piece, or of the error that it raised; runs in a worker.

    Args:
        table: module with the table of works.
        name: of the work.
        arguments: of the work.
        number: of the piece.
        piece_input: what only this piece needs, or None.
        expected: signature of the process that handed it out.
        threads: threads to compute with.
        thread_flags: environment variables on threads of that process.
    """
    set_thread_flags(thread_flags)
    try:
        return _started(table, Work(name, arguments), expected, threads)(number, piece_input)
    except Exception as error:
        return error_record(error)


class _Started:
    """The work of this worker process: the next piece of the same work finds it ready."""

    work: Work | None = None
    piece: Piece | None = None


def _started(table: str, work: Work, expected: dict[str, str], threads: int) -> Piece:
    if _Started.piece is None or _Started.work != work:
        check_signature(expected)
        _prepare(threads)
        _Started.piece = None
        _Started.work, _Started.piece = work, begin(table, work)
    return _Started.piece


@lru_cache(maxsize=1)
def _prepare(threads: int) -> None:
    """Let this process compute as the others do, before TensorFlow starts its threads."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    claim_keras()
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(threads)
    load_keras()
    threadpool_limits(threads)
