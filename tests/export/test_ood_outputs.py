"""The OOD outputs of an export: ``ood_score`` and ``is_known``."""

from __future__ import annotations

import dataclasses
import functools
import json
import re
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.conftest import unless_thorough
from tests.export.tiny_classifier import NAMES, SPEC, encoded, export, features_of
from tests.serving.conftest import SETTINGS
from tests.serving.live_server import form, serving, versions_of
from tltool.artifact import Calibration
from tltool.data.decoding.decode import decode_batch
from tltool.errors import GateError
from tltool.export.exported_model import load_exported
from tltool.export.fresh_process import FreshProcess
from tltool.export.parity import check_parity, ood_score_failures, reference_outputs
from tltool.export.saved_model import Contents, check_shapes
from tltool.serving.served_model import load_version
from tltool.training.ood import OutlierDetector, fit_detector

NOISE = [encoded(seed) for seed in range(12)]
UNIFORM = encoded(0, size=(1, 1))  # one colour


@pytest.fixture(scope="module", name="detector")
def _detector(model: keras.Model) -> OutlierDetector:
    images, _ = decode_batch(tf.constant(NOISE), SPEC)
    features = keras.Model(model.input, features_of(model))(images, training=False).numpy()
    fitted = fit_detector(features, np.arange(len(NOISE)) % 3)
    assert fitted is not None
    return fitted.with_threshold(2 * float(fitted.scores(features).max()))


@pytest.fixture(scope="module", name="with_detector")
def _with_detector(
    model: keras.Model, detector: OutlierDetector, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    base = tmp_path_factory.mktemp("saved_models") / "with_detector"
    return export(model, base, detector=detector, top_k=2)


@functools.lru_cache(maxsize=1)
def _loaded(folder: Path) -> Any:
    return tf.saved_model.load(str(folder))


def signature(folder: Path, name: str, **inputs: Any) -> dict[str, np.ndarray]:
    loaded = _loaded(folder)
    return {key: value.numpy() for key, value in loaded.signatures[name](**inputs).items()}


def test_an_out_of_distribution_image_is_not_known(with_detector: Path) -> None:
    outputs = signature(
        with_detector, "serving_default", image_bytes=tf.constant([*NOISE, UNIFORM, b"x"])
    )
    assert outputs["ood_score"].dtype == np.float32 and outputs["is_known"].dtype == np.bool_
    assert outputs["is_known"].tolist() == [True] * 12 + [False, False]
    assert outputs["ood_score"][12] > 1
    assert outputs["ood_score"][13] == 0 and not outputs["ok"][13]
    images, _ = decode_batch(tf.constant([*NOISE, UNIFORM]), SPEC)
    of_pixels = signature(with_detector, "images", images=images)
    np.testing.assert_allclose(of_pixels["ood_score"], outputs["ood_score"][:13], rtol=1e-4)


@pytest.mark.thorough
def test_without_a_detector_there_are_no_ood_outputs(exported: Path, with_detector: Path) -> None:
    outputs = signature(exported, "serving_default", image_bytes=tf.constant(NOISE[:1]))
    assert not {"is_known", "ood_score"} & set(outputs)
    assert not load_exported(exported).has_ood_detector
    assert load_exported(with_detector).has_ood_detector


@pytest.mark.thorough
def test_the_parity_check_compares_ood_scores_too(
    with_detector: Path, exported: Path, model: keras.Model, detector: OutlierDetector
) -> None:
    images = [*NOISE[:3], UNIFORM]
    arrays = np.asarray(decode_batch(tf.constant(images), SPEC)[0])
    expected, scores = reference_outputs(model, arrays, embed=features_of, detector=detector)
    assert scores is not None
    with FreshProcess() as child:
        outputs = child.run(with_detector, images=images, arrays=arrays)
    assert ood_score_failures(outputs, scores) == [] and ood_score_failures(outputs, None) == []
    (first, _) = ood_score_failures(outputs, scores * 1.01)
    assert re.match(r"bytes: an ood_score has a relative error of 0\.0\d+", first)
    wrong = {**outputs, "images_is_known": ~outputs["images_is_known"]}
    assert ood_score_failures(wrong, scores) == ["images: is_known is inconsistent with ood_score"]
    with pytest.raises(GateError, match=r"OOD detection .* signature bytes has no ood_score"):
        check_parity(exported, images=images, arrays=arrays, expected=expected, ood_scores=scores)


def test_the_server_returns_unknown(with_detector: Path) -> None:
    with serving(versions_of(with_detector.parent), SETTINGS) as live:
        body, kind = form({"noise.png": NOISE[0], "uniform.png": UNIFORM})
        noise, uniform = live.classify(body, kind).json["results"]
        rows = live.predict({"inputs": {"image_bytes": []}}).json
    assert noise["is_known"] and noise["certainty"] != "unknown"
    assert uniform["is_known"] is False and uniform["certainty"] == "unknown"
    assert uniform["ood_score"] > 1 and uniform["class_name"] in NAMES
    json.dumps(uniform, allow_nan=False)
    assert "error" in rows or rows["outputs"]["is_known"] == []


@pytest.mark.parametrize(("size", "count"), unless_thorough([(1, 49), (7, 7)], (7, 7)))
def test_the_server_knows_how_many_independent_images_validated_the_model(
    exported: Path, model: keras.Model, tmp_path: Path, size: int, count: int
) -> None:
    assert load_version("fruit", 1, exported).validation_images is None
    known = Calibration(None, np.zeros(49), np.zeros(49, np.int64), np.arange(49) // size)
    folder = export(model, tmp_path / "fruit", assets={"calibration.npz": known.to_bytes()})
    assert load_version("fruit", 1, folder).validation_images == count


def test_a_detector_needs_features(model: keras.Model, detector: OutlierDetector) -> None:
    contents = Contents(model, NAMES, SPEC, {}, embed=features_of, detector=detector)
    check_shapes(contents)
    with pytest.raises(ValueError, match="embed"):
        check_shapes(dataclasses.replace(contents, embed=None))
