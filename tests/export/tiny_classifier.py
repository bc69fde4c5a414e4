"""A tiny classifier with layers that behave differently in training, and images for it."""

import io
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import keras
import numpy as np
from PIL import Image

from tltool.data.decoding.decode_spec import DecodeSpec
from tltool.export.saved_model import Contents, Embed, export_saved_model
from tltool.training.ood import OutlierDetector

SPEC = DecodeSpec(height=20, width=16)
NAMES = ["ants", "köttbullar 寿司", 'a "b", c']


def encoded(seed: int, *, size: tuple[int, int] = (16, 20), kind: str = "PNG") -> bytes:
    """Return an encoded image of noise, by default of the model's input size."""
    pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, kind)
    return buffer.getvalue()


def tiny_model(policy: str = "float32", *, channels: int = 8) -> keras.Model:
    """Return images float32 [B, 20, 16, 3] to logits [B, 3]; BatchNorm has unusual statistics."""
    keras.utils.set_random_seed(1)
    images = keras.Input((20, 16, 3), name="images")
    flow = keras.layers.Rescaling(1 / 64, dtype=policy)(images)
    flow = keras.layers.Conv2D(channels, 3, dtype=policy)(flow)
    norm = keras.layers.BatchNormalization(dtype=policy)
    flow = keras.layers.Dropout(0.5, dtype=policy)(norm(flow))
    flow = keras.layers.GlobalAveragePooling2D(dtype=policy)(flow)
    model = keras.Model(images, keras.layers.Dense(3, dtype=policy)(flow))
    norm.moving_mean.assign(np.linspace(-1, 1, channels))
    norm.moving_variance.assign(np.linspace(0.5, 2, channels))
    return model


def map_of(model: keras.Model) -> Any:
    """Return the symbolic feature map before the pooling."""
    return model.layers[-3].output


def features_of(model: keras.Model) -> Any:
    """Return the symbolic input of the last layer."""
    return model.layers[-2].output


def export(
    model: keras.Model,
    base_dir: Path,
    *,
    verify: Callable[[Path], object] = lambda folder: None,
    temperature: float = 1.0,
    top_k: int = 0,
    detector: OutlierDetector | None = None,
    attend: Embed | None = map_of,
    metadata: Mapping[str, Any] | None = None,
    assets: Mapping[str, bytes] | None = None,
) -> Path:
    contents = Contents(
        model,
        class_names=NAMES,
        decode=SPEC,
        metadata={"run": "tiny-1", "licence": "none", **(metadata or {})},
        temperature=temperature,
        embed=features_of,
        attend=attend,
        detector=detector,
        top_k=top_k,
        assets=assets or {},
    )
    return export_saved_model(contents, base_dir, verify=verify)
