"""Backbones of KerasHub: presets with random weights, saved and read by KerasHub itself."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from tests.conftest import merged
from tests.workflows.conftest import TINY
from tltool.cli.main import app
from tltool.errors import EnvironmentProblem, UsageError
from tltool.models.own_backbone import forget, read_own_backbone
from tltool.recipe.load import load_recipe
from tltool.workflows.finetune import finetune
from tltool.workflows.resolve.find_backbone import find_backbone

SIDE = 32


@pytest.fixture
def hub() -> Any:
    """Return KerasHub, whose layers tltool registers."""
    pytest.importorskip("keras_hub")
    from tltool.models.hub_extra import import_hub

    return import_hub()


@pytest.fixture(autouse=True)
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TLTOOL_WEIGHTS_DIR", str(tmp_path / "store"))


def vit(hub: Any, folder: Path, *, converter: bool = True) -> Any:
    """Save a tiny ViT as a preset and return it."""
    backbone = hub.models.ViTBackbone(
        image_shape=(SIDE, SIDE, 3), patch_size=8, num_layers=3, num_heads=2, hidden_dim=16,
        mlp_dim=32,
    )  # fmt: skip
    backbone.save_to_preset(str(folder))
    if converter:
        hub.layers.ViTImageConverter(
            image_size=(SIDE, SIDE), scale=1 / 127.5, offset=-1.0
        ).save_to_preset(str(folder))
    return backbone


def other(hub: Any, name: str) -> Any:
    shape = (SIDE, SIDE, 3)
    if name == "dinov2":
        return hub.models.DINOV2Backbone(
            patch_size=8, num_layers=2, hidden_dim=16, num_heads=2, intermediate_dim=32,
            image_shape=shape, position_embedding_shape=shape,
        )  # fmt: skip
    if name == "dinov3":
        return hub.models.DINOV3Backbone(
            patch_size=8, num_layers=2, hidden_dim=16, num_heads=2, intermediate_dim=32,
            image_shape=shape,
        )  # fmt: skip
    return hub.models.CSPNetBackbone(
        stem_filters=8, stem_kernel_size=3, stem_strides=2, stackwise_depth=[1, 1],
        stackwise_strides=[2, 2], stackwise_num_filters=[8, 16], block_type="dark_block",
        stage_type="dark", image_shape=shape,
    )  # fmt: skip


def test_blocks_are_stages_and_patch_tokens_the_feature_map(hub: Any, tmp_path: Path) -> None:
    original = vit(hub, tmp_path / "tiny_vit")
    backbone = find_backbone(f"hub:{tmp_path / 'tiny_vit'}")

    assert backbone.preprocessing == "none"  # the scale of its image converter is inside
    assert [(stage.stride, stage.channels) for stage in backbone.stages] == [(8, 16)] * 4
    assert backbone.sides(SIDE) == [4, 4, 4, 4]
    model = _loaded(backbone)
    images = np.random.default_rng(0).uniform(0, 255, (2, SIDE, SIDE, 3)).astype(np.float32)
    tokens = np.asarray(original(images / 127.5 - 1))[:, 1:]
    np.testing.assert_allclose(np.asarray(model(images)), tokens.reshape(2, 4, 4, 16), atol=1e-5)


@pytest.mark.parametrize("name", ["dinov2", "dinov3", "cspnet"])
def test_other_families(hub: Any, name: str, tmp_path: Path) -> None:
    original = other(hub, name)
    original.save_to_preset(str(tmp_path / name))
    backbone = find_backbone(f"hub:{tmp_path / name}", "tf")

    # the rotary positions of DINOv3 go around all blocks
    assert (len(backbone.stages) > 1) == (name != "dinov3")
    images = np.random.default_rng(0).uniform(-1, 1, (2, SIDE, SIDE, 3)).astype(np.float32)
    computed = np.asarray(_loaded(backbone)(images))
    names = original.input.keys() if isinstance(original.input, dict) else ()
    expected = np.asarray(original(dict.fromkeys(names, images) or images))
    if expected.ndim == 3:
        expected = expected[:, -16:].reshape(computed.shape)
    np.testing.assert_allclose(computed, expected, atol=1e-4)


def _loaded(backbone: Any) -> Any:
    import keras

    return keras.saving.load_model(backbone.file.path, compile=False)


@pytest.mark.slow
def test_a_run_with_a_transformer_trains_its_last_blocks(
    hub: Any, fruit: Path, tmp_path: Path
) -> None:
    vit(hub, tmp_path / "tiny_vit")
    settings = (
        "model.weights=imagenet", "train.finetune.unfreeze=stage3", "export.enabled=true",
    )  # fmt: skip

    result = finetune(
        fruit,
        recipe=load_recipe("vgg16", merged(*TINY, *settings)),
        backbone=f"hub:{tmp_path / 'tiny_vit'}",
        out=tmp_path / "run",
        saved_models=tmp_path / "models",
    )

    manifest = json.loads((result.run / "manifest.json").read_text())
    assert manifest["backbone"]["name"] == "tiny_vit" and manifest["cached"]
    assert result.export is not None
    photo = next(fruit.rglob("*.png"))
    arguments = ["explain", str(result.run), str(photo), "--out", str(tmp_path / "heat")]
    assert CliRunner().invoke(app, arguments).exit_code == 0
    assert [*(tmp_path / "heat").glob("*grad-cam.png")]


def test_without_an_image_converter_the_preprocessing_must_be_set(hub: Any, tmp_path: Path) -> None:
    vit(hub, tmp_path / "bare", converter=False)

    with pytest.raises(UsageError, match="does not scale its input itself"):
        find_backbone(f"hub:{tmp_path / 'bare'}")


def test_a_preset_that_does_not_exist(hub: Any) -> None:
    with pytest.raises(UsageError, match=r"no preset .*Did you mean"):
        find_backbone("hub:vit_base_patch16_224_imagenett")


def test_a_preset_is_never_downloaded_by_a_run(hub: Any) -> None:
    known = sorted(hub.models.ViTBackbone.presets)[0]

    with pytest.raises(EnvironmentProblem, match="is not stored") as caught:
        find_backbone(f"hub:{known}")

    assert f"tltool weights pull hub:{known}" in str(caught.value.hint)
    result = CliRunner().invoke(app, ["weights", "pull", f"hub:{known}", "--offline"])
    assert result.exit_code == 5 and "offline mode" in result.stderr


def test_a_folder_with_a_class_of_others_is_refused(hub: Any, tmp_path: Path) -> None:
    vit(hub, tmp_path / "evil")
    file = tmp_path / "evil" / "config.json"
    config = json.loads(file.read_text())
    file.write_text(json.dumps({**config, "module": "os", "class_name": "system"}))

    with pytest.raises(UsageError, match="not one of Keras' layers"):
        find_backbone(f"hub:{tmp_path / 'evil'}")


def test_the_file_of_a_run_is_read_with_its_extra_alone(
    hub: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    vit(hub, tmp_path / "tiny_vit")
    file = find_backbone(f"hub:{tmp_path / 'tiny_vit'}").file
    assert file is not None
    forget()  # of a process that has not read it
    monkeypatch.setattr("tltool.models.hub_extra.find_spec", lambda _: None)

    with pytest.raises(EnvironmentProblem, match=r"pip install 'tltool\[hub\]'"):
        read_own_backbone(file.path)


def test_a_missing_extra_is_named(fruit: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "keras_hub", None)
    monkeypatch.setattr("tltool.models.hub_extra.find_spec", lambda _: None)

    result = CliRunner().invoke(app, ["finetune", str(fruit), "--backbone", "hub:vit"])

    assert result.exit_code == 5 and "pip install 'tltool[hub]'" in result.stderr
