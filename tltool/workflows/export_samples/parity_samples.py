"""The images and contents of an export, with the expected outputs of the trained model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import keras
import numpy as np

from tltool.artifact import Artifact
from tltool.data.catalog import Catalog
from tltool.data.decoding.decode_spec import DecodeSpec
from tltool.data.decoding.transcode import read_image_bytes
from tltool.evaluation.explain.saliency import feature_map
from tltool.export.golden import GOLDEN_ASSET, Golden, golden_images
from tltool.export.grad_cam import FEATURE_MAP
from tltool.export.parity import reference_outputs
from tltool.export.saved_model import Contents
from tltool.inference import decoder
from tltool.models.network_parts import Network
from tltool.recipe.load import to_yaml
from tltool.recipe.schema import Recipe
from tltool.runs.environment import versions
from tltool.runs.layout import CALIBRATION_FILE

RECIPE_ASSET = "recipe.yaml"
_DECODE_BATCH = 32


@dataclass(frozen=True)
class ParitySamples:
    """Images for the parity check, with the outputs of the trained model.

    Attributes:
        images: the encoded images in their order, followed by the golden set's smaller copies of
            large ones.
        arrays: the same images decoded, float32 [N, H, W, 3].
        expected: probabilities of the trained model, float32 [N, C].
        ood_scores: OOD scores of the trained model, float32 [N]; None without an OOD detector.
        golden: the golden set, which is stored in the export.
    """

    images: Sequence[bytes]
    arrays: np.ndarray
    expected: np.ndarray
    ood_scores: np.ndarray | None
    golden: Golden


def make_parity_samples(artifact: Artifact, contents: Sequence[bytes]) -> ParitySamples:
    """Decode encoded images, predict them with the trained model, and choose the golden set."""
    golden = golden_images(contents)
    given = set(contents)  # identical images stay: each has a label at its own position
    images = [*contents, *(one for one in dict.fromkeys(golden) if one not in given)]
    arrays, _ = decode_all(images, artifact.description.decode)
    expected, scores = reference_outputs(
        artifact.network.model,
        arrays,
        temperature=artifact.description.temperature,
        embed=partial(_features, artifact.network),
        detector=artifact.calibration.detector,
    )
    positions = [images.index(image) for image in golden]
    return ParitySamples(
        images, arrays, expected, scores, Golden(tuple(golden), expected[positions])
    )


def decode_all(contents: Sequence[bytes], decode: DecodeSpec) -> tuple[np.ndarray, np.ndarray]:
    """Return encoded images as float32 [N, H, W, 3], and whether each was decoded, bool [N]."""
    decode_batch = decoder(decode)
    parts = [
        decode_batch(contents[start : start + _DECODE_BATCH])
        for start in range(0, len(contents), _DECODE_BATCH)
    ]
    images, ok = zip(*parts, strict=True)
    return np.concatenate(images), np.concatenate(ok)


def export_contents(
    artifact: Artifact, golden: Golden, *, recipe: Recipe, facts: Mapping[str, Any]
) -> Contents:
    """Return the contents of an export of ``artifact``.

    Args:
        artifact: the trained model.
        golden: the golden set to store.
        recipe: stored without the location of its images; ``export.top_k`` is taken from it.
        facts: of the manifest and the environment; paths of this machine are left out.
    """
    network, description, calibration = artifact.network, artifact.description, artifact.calibration
    public = {"run", "data_digest", "recipe_digest", "model_digest", "weights_digest", "images"}
    public |= versions().keys()
    kept = {k: v for k, v in facts.items() if k in public}
    ood_images = recipe.data.ood_images
    if Path(ood_images or "/").is_absolute():
        ood_images = None
    data = recipe.data.model_copy(update={"source": None, "ood_images": ood_images})
    shared = to_yaml(recipe.model_copy(update={"data": data})).encode()
    positions = list(feature_map(network).shape[1:3])  # a heat map needs several
    return Contents(
        network.model,
        class_names=description.class_names,
        decode=description.decode,
        metadata={**description.to_json(), **kept, FEATURE_MAP: positions},
        temperature=description.temperature,
        embed=partial(_features, network),
        attend=partial(_last_map, network) if positions != [1, 1] else None,
        detector=calibration.detector,
        top_k=recipe.export.top_k,
        assets={
            GOLDEN_ASSET: golden.to_bytes(),
            RECIPE_ASSET: shared,
            CALIBRATION_FILE: replace(calibration, detector=None).to_bytes(),
        },
    )


def _features(network: Network, model: keras.Model) -> Any:
    """Return the symbolic features in ``model``, which is ``network``'s in float32."""
    return Network(model, network.backbone, network.head).pooled


def _last_map(network: Network, model: keras.Model) -> Any:
    """Return the last symbolic feature map in ``model``, which is ``network``'s in float32."""
    return feature_map(Network(model, network.backbone, network.head))


def read_sample_images(catalog: Catalog, count: int) -> list[bytes]:
    """Return the bytes of up to ``count`` images, evenly spaced in the catalog."""
    chosen = np.unique(np.linspace(0, len(catalog.items) - 1, count).astype(int))
    items = [catalog.items[position] for position in chosen]
    return [read_image_bytes(item.path, sha256=item.sha256) for item in items]
