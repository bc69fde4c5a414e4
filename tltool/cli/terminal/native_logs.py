"""Keep the log of TensorFlow's C++ code off the terminal."""

import faulthandler
import logging
import os
import sys
import warnings

from tltool.cli.terminal.streams import message_stream
from tltool.runs.keras_setup import prepare_with

_owner = False


def own_process() -> None:
    """Say that this process is the command line's own, so that its streams may be moved."""
    global _owner
    _owner = True
    prepare_with(silence_native_logs)
    os.environ["MPLBACKEND"] = "agg"  # plots are files; an unknown backend would fail at import
    faulthandler.enable()


def silence_native_logs() -> None:
    """Discard what C++ code writes to standard error, from now on.

    TensorFlow 2.21 writes several lines at import that TF_CPP_MIN_LOG_LEVEL does not stop. Python's
    sys.stderr keeps the terminal, and so does the trace of a crash. Does nothing in a process that
    is not the command line's own, such as a test's.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    if not _owner or sys.stderr.fileno() != 2:
        return
    warnings.simplefilter("ignore")
    logging.getLogger("tensorflow").setLevel(logging.ERROR)
    logging.getLogger("absl").setLevel(logging.ERROR)
    sys.stderr.flush()
    terminal = os.dup(2)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    os.close(nowhere)
    # the terminal still has the encoding that it had, which need not be UTF-8
    encoding = getattr(sys.stderr, "encoding", None) or "utf-8"
    to_terminal = os.fdopen(
        terminal, "w", buffering=1, encoding=encoding, errors="backslashreplace"
    )
    sys.stderr = message_stream(to_terminal)
    faulthandler.enable(file=sys.stderr)
