"""tltool: transfer learning for image classification, from a folder of images to a served model."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tltool.recipe.schema import Recipe
    from tltool.training.keras_objects import KerasObjects
    from tltool.workflows.adopt import adopt
    from tltool.workflows.apply_corrections import apply_corrections
    from tltool.workflows.check_data import check_data
    from tltool.workflows.compare import compare
    from tltool.workflows.evaluate import evaluate
    from tltool.workflows.explain import explain
    from tltool.workflows.finetune import finetune
    from tltool.workflows.load import load
    from tltool.workflows.monitor import monitor
    from tltool.workflows.predict import predict
    from tltool.workflows.reproduce import reproduce
    from tltool.workflows.resume import resume
    from tltool.workflows.split_data import split_data
    from tltool.workflows.suggest import suggest

__version__ = "0.1.0"
__all__ = [
    "KerasObjects",
    "Recipe",
    "__version__",
    "adopt",
    "apply_corrections",
    "check_data",
    "compare",
    "evaluate",
    "explain",
    "finetune",
    "load",
    "monitor",
    "predict",
    "reproduce",
    "resume",
    "split_data",
    "suggest",
]

_MODULES = {"KerasObjects": "training.keras_objects"}


def __getattr__(name: str) -> object:
    """Load a public name when it is first asked for: TensorFlow takes seconds to import."""
    if name not in __all__:
        raise AttributeError(f"module 'tltool' has no attribute '{name}'")
    import importlib

    if name == "Recipe":
        return importlib.import_module("tltool.recipe.schema").Recipe
    from tltool.runs.keras_setup import check_keras, claim_keras

    claim_keras()
    check_keras()
    module = f"tltool.{_MODULES.get(name, f'workflows.{name}')}"
    if "IPython" not in sys.modules or name in _MODULES:
        found: object = getattr(importlib.import_module(module), name)
        return found
    from tltool.notebook import loading, with_display

    if module not in sys.modules:
        with loading("TensorFlow"):
            importlib.import_module(module)
    return with_display(getattr(sys.modules[module], name))


def __dir__() -> list[str]:
    """Return the public names, for completion in editors and notebooks."""
    return sorted(__all__)
