"""Embeddings for near-duplicates are cached, and only for the network that computed them."""

from __future__ import annotations

from pathlib import Path

import pytest
import tensorflow as tf

from tests.conftest import flip_bit, write_photos
from tltool.data.catalog import Item
from tltool.data.decoding.decode_spec import DecodeSpec
from tltool.events import SilentObserver
from tltool.features import embedding_similarity
from tltool.features.embedding_similarity import EmbeddingSimilarity
from tltool.runs.digests import file_digest
from tltool.weights.weights_store import StoredWeights


@pytest.mark.parametrize(
    ("what", "value"),
    [
        ("_LAYER", "block5_pool"),
        pytest.param("_SPEC", DecodeSpec(96, 96, "squash"), marks=pytest.mark.thorough),
        pytest.param("_SPEC", DecodeSpec(128, 128, "pad"), marks=pytest.mark.thorough),
    ],
)
def test_kept_features_are_of_this_layer_and_size(
    what: str, value: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = sorted(write_photos(tmp_path / "photos", n=1).rglob("*.jpg"))
    first, second = (Item(path, "a", sha256=file_digest(path)) for path in paths)
    weights = StoredWeights("vgg16", tmp_path / "none.h5", "made up", "none", "0" * 64, "", 0)
    seen: list[tuple[int, ...]] = []

    def network(_: EmbeddingSimilarity) -> object:
        def features(images: tf.Tensor) -> tf.Tensor:
            seen.append(tuple(images.shape))
            return tf.ones([len(images), 512])

        return features

    monkeypatch.setattr(EmbeddingSimilarity, "_network", network)
    for _ in range(2):
        assert EmbeddingSimilarity(weights, tmp_path / "cache", SilentObserver())(
            [(first, second)]
        ) == [True]
    assert seen == [(2, 128, 128, 3)]
    for kept in (tmp_path / "cache").rglob("*.npz"):
        flip_bit(kept, kept.stat().st_size // 2)  # a damaged one is computed again
    EmbeddingSimilarity(weights, tmp_path / "cache", SilentObserver())([(first, second)])
    assert seen.pop() == (2, 128, 128, 3)
    monkeypatch.setattr(embedding_similarity, what, value)
    EmbeddingSimilarity(weights, tmp_path / "cache", SilentObserver())([(first, second)])
    assert len(seen) == 2
