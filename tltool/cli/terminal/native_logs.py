"""Keep the log of TensorFlow's C++ code off the terminal."""

import faulthandler
import logging
import os
import sys
import tempfile
import warnings

_owner = False


def own_process() -> None:
    """Say that this process is the command line's own, so that its streams may be moved."""
    global _owner
    _owner = True
    faulthandler.enable()


def silence_native_logs() -> None:
    """Send what C++ code writes to standard error into a temporary file, from now on.

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
    with tempfile.TemporaryFile() as log:
        os.dup2(log.fileno(), 2)
    sys.stderr = os.fdopen(terminal, "w", buffering=1, encoding="utf-8", errors="backslashreplace")
    faulthandler.enable(file=sys.stderr)
