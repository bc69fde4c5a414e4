"""One tiny classifier and its export for all tests of this folder."""

from pathlib import Path

import keras
import pytest

from tests.export.tiny_classifier import export, tiny_model


@pytest.fixture(scope="session", name="model")
def _model() -> keras.Model:
    return tiny_model()


@pytest.fixture(scope="session", name="exported")
def _exported(model: keras.Model, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return export(model, tmp_path_factory.mktemp("saved_models") / "tiny")
