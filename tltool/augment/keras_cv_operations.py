"""The five operations of KerasCV that tltool uses; no other module imports KerasCV.

KerasCV 0.9 (April 2024) is its last release. tests/augment/test_keras_cv_operations.py holds the
output of each operation, so that a replacement can be compared with it.
"""

from __future__ import annotations

from keras_cv.core import FactorSampler
from keras_cv.layers import DropPath, RandomCropAndResize, RandomCutout
from keras_cv.src.utils.fill_utils import fill_rectangle

__all__ = ["DropPath", "FactorSampler", "RandomCropAndResize", "RandomCutout", "fill_rectangle"]
