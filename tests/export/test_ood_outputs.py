"""What an export says of images unlike those that its model has learned from."""

from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.export.tiny_classifier import NAMES, SPEC, encoded, export, features_of
from tests.serving.conftest import SETTINGS
from tests.serving.live_server import form, serving, versions_of
from tltool.data.decoding.decode import decode_batch
from tltool.errors import GateError
from tltool.export.exported_model import load_exported
from tltool.export.fresh_process import FreshProcess
from tltool.export.parity import check_parity, reference_answers, score_faults
from tltool.export.saved_model import Contents, check_shapes
from tltool.training.ood import OutlierDetector, fit_detector

NOISE = [encoded(seed) for seed in range(12)]
PLAIN = encoded(0, size=(1, 1))  # one colour


@pytest.fixture(scope="module", name="detector")
def _detector(model: keras.Model) -> OutlierDetector:
    images, _ = decode_batch(tf.constant(NOISE), SPEC)
    features = keras.Model(model.input, features_of(model))(images, training=False).numpy()
    found = fit_detector(features, np.arange(len(NOISE)) % 3)
    assert found is not None
    return found.with_threshold(2 * float(found.scores(features).max()))


@pytest.fixture(scope="module", name="knowing")
def _knowing(
    model: keras.Model, detector: OutlierDetector, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    base = tmp_path_factory.mktemp("saved_models") / "knowing"
    return export(model, base, detector=detector, top_k=2)


def signature(folder: Path, name: str, **inputs: Any) -> dict[str, np.ndarray]:
    loaded = tf.saved_model.load(str(folder))
    return {key: value.numpy() for key, value in loaded.signatures[name](**inputs).items()}


def test_a_photo_of_something_else_is_not_known(knowing: Path) -> None:
    said = signature(knowing, "serving_default", image_bytes=tf.constant([*NOISE, PLAIN, b"x"]))
    assert said["ood_score"].dtype == np.float32 and said["is_known"].dtype == np.bool_
    assert said["is_known"].tolist() == [True] * 12 + [False, False]
    assert said["ood_score"][12] > 1
    assert said["ood_score"][13] == 0 and not said["ok"][13]
    images, _ = decode_batch(tf.constant([*NOISE, PLAIN]), SPEC)
    pixels = signature(knowing, "images", images=images)
    np.testing.assert_allclose(pixels["ood_score"], said["ood_score"][:13], rtol=1e-4)


def test_without_a_detector_nothing_is_said_of_it(exported: Path, knowing: Path) -> None:
    plain = signature(exported, "serving_default", image_bytes=tf.constant(NOISE[:1]))
    assert not {"is_known", "ood_score"} & set(plain)
    assert not load_exported(exported).has_ood_detector
    assert load_exported(knowing).has_ood_detector


def test_the_gate_compares_scores_too(
    knowing: Path, exported: Path, model: keras.Model, detector: OutlierDetector
) -> None:
    images = [*NOISE[:3], PLAIN]
    arrays = np.asarray(decode_batch(tf.constant(images), SPEC)[0])
    expected, scores = reference_answers(model, arrays, embed=features_of, detector=detector)
    assert scores is not None
    with FreshProcess() as child:
        said = child.ask(knowing, images=images, arrays=arrays)
    assert score_faults(said, scores) == [] and score_faults(said, None) == []
    (first, _) = score_faults(said, scores * 1.01)
    assert re.match(r"bytes: an ood_score differs by 0\.0\d+ of it", first)
    wrong = {**said, "images_is_known": ~said["images_is_known"]}
    assert score_faults(wrong, scores) == ["images: is_known does not follow from ood_score"]
    with pytest.raises(GateError, match=r"tell what it knows .* bytes gives no ood_score"):
        check_parity(exported, images=images, arrays=arrays, expected=expected, ood_scores=scores)


def test_the_server_says_unknown(knowing: Path) -> None:
    with serving(versions_of(knowing.parent), SETTINGS) as live:
        body, kind = form({"noise.png": NOISE[0], "plain.png": PLAIN})
        noise, plain = live.classify(body, kind).json["results"]
        rows = live.predict({"inputs": {"image_bytes": []}}).json
    assert noise["is_known"] and noise["certainty"] != "unknown"
    assert plain["is_known"] is False and plain["certainty"] == "unknown"
    assert plain["ood_score"] > 1 and plain["class_name"] in NAMES
    json.dumps(plain, allow_nan=False)
    assert "error" in rows or rows["outputs"]["is_known"] == []


def test_a_detector_needs_features(model: keras.Model, detector: OutlierDetector) -> None:
    contents = Contents(model, NAMES, SPEC, {}, embed=features_of, detector=detector)
    check_shapes(contents)
    with pytest.raises(ValueError, match="embed"):
        check_shapes(dataclasses.replace(contents, embed=None))
