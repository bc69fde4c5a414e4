"""Export a trained model and prove that the export gives the same answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import keras
import numpy as np

from tltool.artifact import Artifact, Calibration
from tltool.data.catalog import Catalog
from tltool.data.decoding.decode_spec import DecodeSpec
from tltool.data.decoding.transcode import read_image_bytes
from tltool.evaluation.explain.saliency import feature_map
from tltool.export.golden import GOLDEN_ASSET, Golden, golden_images
from tltool.export.parity import reference_answers
from tltool.export.saved_model import Contents
from tltool.inference import decoder
from tltool.models.network_parts import Network
from tltool.recipe.load import to_yaml
from tltool.recipe.schema import Recipe
from tltool.runs.environment import versions
from tltool.runs.layout import CALIBRATION_FILE

RECIPE_ASSET = "recipe.yaml"
_DECODED_AT_ONCE = 32


@dataclass(frozen=True)
class Sample:
    """Images that an export must answer as the trained model does.

    Attributes:
        images: encoded images, and behind them the golden set's smaller copies of large ones.
        arrays: the same, decoded: float32 [N, H, W, 3].
        expected: the trained model's probabilities, float32 [N, C].
        ood_scores: how unlike the training images it finds them, float32 [N]; None without.
        golden: those that travel with the export.
    """

    images: Sequence[bytes]
    arrays: np.ndarray
    expected: np.ndarray
    ood_scores: np.ndarray | None
    golden: Golden


def sample_of(artifact: Artifact, contents: Sequence[bytes]) -> Sample:
    """Decode encoded images and ask the trained model; the golden set is taken from them."""
    golden = golden_images(contents)
    images = list(dict.fromkeys([*contents, *golden]))
    arrays, _ = decoded(images, artifact.description.decode)
    expected, scores = reference_answers(
        artifact.network.model,
        arrays,
        temperature=artifact.description.temperature,
        embed=partial(_features, artifact.network),
        detector=artifact.calibration.detector,
    )
    positions = [images.index(image) for image in golden]
    return Sample(images, arrays, expected, scores, Golden(tuple(golden), expected[positions]))


def decoded(contents: Sequence[bytes], decode: DecodeSpec) -> tuple[np.ndarray, np.ndarray]:
    """Return encoded images as float32 [N, H, W, 3], and which of them are readable."""
    decode_some = decoder(decode)
    parts = [
        decode_some(contents[start : start + _DECODED_AT_ONCE])
        for start in range(0, len(contents), _DECODED_AT_ONCE)
    ]
    images, ok = zip(*parts, strict=True)
    return np.concatenate(images), np.concatenate(ok)


def contents_of(
    artifact: Artifact, golden: Golden, *, recipe: Recipe, facts: Mapping[str, Any]
) -> Contents:
    """Return what goes into an export of ``artifact``.

    Args:
        artifact: the trained model.
        golden: travels along.
        recipe: travels along, but not where its images lie; says how many classes are named.
        facts: of the manifest and of the environment; what only this machine knows is left out.
    """
    network, description, calibration = artifact.network, artifact.description, artifact.calibration
    known = {"run", "data_digest", "recipe_digest", "model_digest", "weights_digest", "images"}
    kept = {k: v for k, v in facts.items() if k in known or k in versions()}
    ood_images = recipe.data.ood_images
    if Path(ood_images or "/").is_absolute():
        ood_images = None
    data = recipe.data.model_copy(update={"source": None, "ood_images": ood_images})
    shared = to_yaml(recipe.model_copy(update={"data": data})).encode()

    return Contents(
        network.model,
        class_names=description.class_names,
        decode=description.decode,
        metadata={**description.to_json(), **kept},
        temperature=description.temperature,
        embed=partial(_features, network),
        attend=partial(_last_map, network) if _has_positions(network) else None,
        detector=calibration.detector,
        top_k=recipe.export.top_k,
        assets={
            GOLDEN_ASSET: golden.to_bytes(),
            RECIPE_ASSET: shared,
            CALIBRATION_FILE: Calibration(conformity=calibration.conformity).to_bytes(),
        },
    )


def _features(network: Network, model: keras.Model) -> Any:
    """Return the symbolic features in ``model``, which is ``network``'s in float32."""
    return Network(model, network.backbone, network.head).pooled


def _last_map(network: Network, model: keras.Model) -> Any:
    """Return the last symbolic feature map in ``model``, which is ``network``'s in float32."""
    return feature_map(Network(model, network.backbone, network.head))


def _has_positions(network: Network) -> bool:
    """Whether the last feature map has more than one position, else nothing can be told apart."""
    _, height, width, _ = feature_map(network).shape
    return bool(height * width > 1)


def sample_bytes(catalog: Catalog, count: int) -> list[bytes]:
    """Return the bytes of ``count`` images spread evenly over the catalog."""
    chosen = np.unique(np.linspace(0, len(catalog.items) - 1, count).astype(int))
    return [read_image_bytes(catalog.items[position].path) for position in chosen]
