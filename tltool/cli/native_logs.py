"""Keep TensorFlow's C++ log off the terminal."""

import faulthandler
import logging
import os
import sys
import tempfile
import warnings


def silence_native_logs() -> None:
    """Send what C++ code writes to standard error into a temporary file, from now on.

    TensorFlow 2.21 writes several lines at import that TF_CPP_MIN_LOG_LEVEL does not stop. Python's
    sys.stderr keeps the terminal. Does nothing where sys.stderr is not the process's own, as in
    tests.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    warnings.simplefilter("ignore")
    logging.getLogger("tensorflow").setLevel(logging.ERROR)
    logging.getLogger("absl").setLevel(logging.ERROR)
    if not _is_descriptor_two():
        return
    sys.stderr.flush()
    terminal = os.dup(2)
    with tempfile.TemporaryFile() as log:
        os.dup2(log.fileno(), 2)
    sys.stderr = os.fdopen(terminal, "w", buffering=1, encoding="utf-8", errors="backslashreplace")
    faulthandler.enable(file=sys.stderr)


def _is_descriptor_two() -> bool:
    try:
        return sys.stderr.fileno() == 2
    except (AttributeError, OSError, ValueError):
        return False
