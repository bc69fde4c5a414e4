"""tltool: transfer learning for Keras, from a folder of images to a served model."""

from __future__ import annotations

from typing import Any

__version__ = "0.1.0.dev0"
__all__ = ["__version__", "evaluate", "finetune", "predict"]


def __getattr__(name: str) -> Any:
    """Load a workflow when it is first asked for: TensorFlow takes seconds to import."""
    if name in __all__:
        import importlib

        return getattr(importlib.import_module(f"tltool.workflows.{name}"), name)
    raise AttributeError(f"module 'tltool' has no attribute '{name}'")
