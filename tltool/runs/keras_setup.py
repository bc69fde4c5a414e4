"""Which Keras tltool needs, whatever the environment and ``~/.keras/keras.json`` say.

Keras reads its backend from KERAS_BACKEND and further settings from ``keras.json`` when it is
imported (https://keras.io/api/utils/config_utils/). Nothing here imports it. What can still be set
afterwards is set by `tltool.training.own_settings`.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path
from types import MappingProxyType
from typing import Any

from tltool.errors import EnvironmentProblem
from tltool.runs.install_hint import install_hint

BACKEND = "tensorflow"
KERAS_SETTINGS: Mapping[str, Any] = MappingProxyType(
    {
        "backend": BACKEND,
        "image_data_format": "channels_last",
        "floatx": "float32",
        "epsilon": 1e-7,
        "dtype_policy": "float32",
    }
)
"""The settings of Keras under which every network is built and run; Keras' own defaults."""
_ALLOWED = {
    "floatx": ("float16", "float32", "float64"),
    "image_data_format": ("channels_last", "channels_first"),
}
# packages that Keras and TensorFlow import if they can
_OPTIONAL = ("sklearn", "matplotlib", "pandas", "scipy", "IPython")
_prepare: Callable[[], object] | None = None
_LIMITS = ("KERAS_MAX_EPOCHS", "KERAS_MAX_STEPS_PER_EPOCH")


def claim_keras() -> None:
    """Make this process import Keras 3 with TensorFlow, unless it has imported Keras before."""
    if "keras" not in sys.modules:
        os.environ["KERAS_BACKEND"] = BACKEND
        for name in _LIMITS:  # of Keras' own training loop, which is not used
            if not os.environ.get(name, "0").isdecimal():  # the import of Keras would fail
                del os.environ[name]
    if "tf_keras" not in sys.modules:
        os.environ.pop("TF_USE_LEGACY_KERAS", None)  # else keras-cv would ask for Keras 2


def check_keras() -> None:
    """Check that Keras can be imported with TensorFlow, or was.

    Raises:
        EnvironmentProblem: TensorFlow is not installed, Keras runs with another backend already, or
            its configuration file is unusable.
    """
    _check_tensorflow()
    backend = getattr(sys.modules.get("keras"), "backend", None)
    if backend is None:
        _check_file(_config_file())
    elif backend.backend() != BACKEND:
        raise EnvironmentProblem(
            f"this process has imported Keras with the backend {backend.backend()}, and tltool "
            f"needs {BACKEND}",
            hint="start a new Python process and import tltool before keras, "
            f"or set KERAS_BACKEND={BACKEND}",
        )


def _check_tensorflow() -> None:
    if sys.modules.get("tensorflow") is None and find_spec("tensorflow") is None:
        raise EnvironmentProblem(
            "TensorFlow is not installed in this Python environment",
            hint=f"{install_hint('cpu')}   (for NVIDIA GPUs: {install_hint('gpu')})",
        )


def import_keras() -> None:
    """Import Keras without scikit-learn, Matplotlib, pandas, SciPy and IPython; they take a second.

    All are optional for Keras: without them ``keras.wrappers`` and ``keras.visualization`` do not
    work, and ``fit`` takes no data frames, none of which tltool uses. Only a process of the command
    line may call it, where no other code needs these. Modules that import them later find them as
    usual.
    """
    _import_without(_OPTIONAL, ["keras"])


def import_scikit_learn() -> None:
    """Import what is used of scikit-learn without pandas, whose import takes half a second.

    It does something only in a process of the command line: data frames cannot be passed to
    scikit-learn there. Call it before anything of scikit-learn is imported.
    """
    if _prepare is not None:
        _import_without(("pandas",), ["sklearn.linear_model", "sklearn.model_selection"])


def _import_without(packages: Sequence[str], modules: Sequence[str]) -> None:
    """Import ``modules`` as if those of ``packages`` that are not imported were not installed."""
    if all(name in sys.modules for name in modules):
        return
    hidden = [name for name in packages if name not in sys.modules]
    with _without_collections():
        for name in hidden:  # None makes an import raise ModuleNotFoundError
            sys.modules[name] = None  # type: ignore[assignment]
        try:
            with suppress(ModuleNotFoundError):  # of a version that does need one of them
                for name in modules:
                    importlib.import_module(name)
        finally:
            for name in hidden:
                del sys.modules[name]
        for name in modules:
            importlib.import_module(name)


@contextmanager
def _without_collections() -> Iterator[None]:
    """Run imports without garbage collection, and leave their objects out of later collections.

    Imported modules live as long as the process. To search them again and again for garbage takes a
    tenth of the CPU time of a short command.
    """
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        if enabled:
            gc.enable()


def load_keras() -> None:
    """Import Keras with TensorFlow ahead of time; a process of the command line is prepared first.

    Raises:
        EnvironmentProblem: Keras cannot be imported.
    """
    claim_keras()
    check_keras()
    if _prepare is None:
        importlib.import_module("keras")
    else:
        _prepare()
        import_keras()


def prepare_with(prepare: Callable[[], object]) -> None:
    """Call ``prepare`` before ``load_keras`` imports Keras; for the command line."""
    global _prepare
    _prepare = prepare


def _config_file() -> Path:
    """Return the file that Keras will read, as ``keras.src.backend.config`` finds it."""
    folder = os.environ.get("KERAS_HOME")
    if folder is None:
        home = os.path.expanduser("~")  # noqa: PTH111  (never raises, as in Keras)
        folder = str(Path(home if os.access(home, os.W_OK) else "/tmp") / ".keras")
    return Path(os.path.expanduser(folder)) / "keras.json"  # noqa: PTH111


def _check_file(path: Path) -> None:
    """Check what makes the import of Keras fail."""
    try:
        settings = json.loads(path.read_text())
    except (FileNotFoundError, NotADirectoryError, ValueError):  # Keras ignores a broken file
        return
    except OSError as error:
        raise _unusable(path, f"it cannot be read ({error.strerror})") from None
    if not isinstance(settings, dict):
        raise _unusable(path, "it is not a JSON object")
    for key, allowed in _ALLOWED.items():
        if settings.get(key, allowed[0]) not in allowed:
            raise _unusable(path, f"{key} is {settings[key]!r}, not one of {', '.join(allowed)}")
    if not isinstance(settings.get("epsilon", 1e-7), float):
        raise _unusable(path, f"epsilon is {settings['epsilon']!r}, not a decimal number")


def _unusable(path: Path, reason: str) -> EnvironmentProblem:
    return EnvironmentProblem(
        f"Keras cannot be imported because of its configuration file '{path}': {reason}",
        hint="correct or remove the file, or set KERAS_HOME to another folder",
    )
