"""Weights in the layouts that people meet: mapped, or refused with the difference named."""

from __future__ import annotations

import re
from pathlib import Path

import keras
import numpy as np
import pytest
from keras import layers
from typer.testing import CliRunner

from tests.conftest import unless_thorough
from tests.weights.test_formats_and_convert import write_safetensors
from tltool.cli.main import app
from tltool.errors import EnvironmentProblem, UsageError
from tltool.models.backbone_registry import get_backbone
from tltool.models.build import check_weights
from tltool.models.resnet import build_tiny_resnet
from tltool.weights import weights_store
from tltool.weights.fetch_weights import import_file
from tltool.weights.load_weights import load_weights
from tltool.weights.weights_formats import read_layers, write_keras_h5


def bottleneck(*, stride_in_3x3: bool = False, epsilon: float = 1.001e-5) -> keras.Model:
    """Return two blocks of a ResNet-50, in the names of keras.applications, with few channels."""
    keras.utils.set_random_seed(4)
    x = entry = keras.Input((16, 16, 3))

    def conv(x: keras.KerasTensor, filters: int, kernel: int, stride: int, name: str) -> object:
        x = layers.Conv2D(filters, kernel, strides=stride, padding="same", name=f"{name}_conv")(x)
        return layers.BatchNormalization(epsilon=epsilon, name=f"{name}_bn")(x)

    x = conv(x, 4, 7, 2, "conv1")
    for stage, stride in ((2, 1), (3, 2)):
        name = f"conv{stage}_block1"
        strides = (1, stride) if stride_in_3x3 else (stride, 1)
        shortcut = conv(x, 8, 1, stride, f"{name}_0")
        x = conv(conv(x, 4, 1, strides[0], f"{name}_1"), 4, 3, strides[1], f"{name}_2")
        x = layers.Add()([shortcut, conv(x, 8, 1, 1, f"{name}_3")])
    return keras.Model(entry, x, name="bottleneck")


def old_name(name: str) -> str:
    """Return the name of 2017 for one of today."""
    if name.startswith("conv1"):
        return {"conv1_conv": "conv1", "conv1_bn": "bn_conv1"}[name]
    stage, block, branch, kind = re.fullmatch(r"conv(\d)_block(\d+)_(\d)_(conv|bn)", name).groups()
    prefix = {"conv": "res", "bn": "bn"}[kind]
    return f"{prefix}{stage}{'abcdef'[int(block) - 1]}_branch{['1', '2a', '2b', '2c'][int(branch)]}"


def test_the_names_of_2017_are_mapped_whatever_their_order(tmp_path: Path) -> None:
    model, target = bottleneck(), keras.models.clone_model(bottleneck())
    known = [layer for layer in model.layers if layer.weights]
    write_keras_h5(
        tmp_path / "old.h5", {old_name(x.name): x.get_weights() for x in reversed(known)}
    )

    load_weights(target, tmp_path / "old.h5", backbone="resnet50")

    for one, other in zip(target.get_weights(), model.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


def test_blocks_with_numbers_are_mapped_and_separate_scales_refused(tmp_path: Path) -> None:
    kernel = [np.ones((1, 1, 3, 8), np.float32)]
    write_keras_h5(tmp_path / "r101.h5", {"res4b12_branch2c": kernel, "res4a_branch1": kernel})
    write_keras_h5(tmp_path / "caffe.h5", {"res4a_branch1": kernel, "scale4a_branch1": kernel})

    assert [*read_layers(tmp_path / "r101.h5")] == ["conv4_block13_3_conv", "conv4_block1_0_conv"]
    with pytest.raises(UsageError, match="layers of their own for scale and shift"):
        read_layers(tmp_path / "caffe.h5")


def torch_resnet50(path: Path) -> Path:
    """Write tensors in the names of torchvision's ResNet-50, as far as needed to recognise it."""
    names = ("conv1", "layer1.0.conv1", "layer1.0.conv2", "layer1.0.conv3")
    write_safetensors(path, {f"{name}.weight": np.ones((4, 3, 1, 1)) for name in names})
    return path


@pytest.mark.parametrize("way", ["load", "import"])
def test_a_resnet_of_pytorch_is_refused_for_its_stride(way: str, tmp_path: Path) -> None:
    path = torch_resnet50(tmp_path / "torch.safetensors")

    with pytest.raises(UsageError, match=r"v1\.5.* stride in the 3x3") as caught:
        if way == "load":
            load_weights(bottleneck(), path, backbone="resnet50")
        else:
            import_file("resnet50", path)

    assert "\n" not in caught.value.message


@pytest.mark.parametrize("suffix", unless_thorough([".keras", ".h5"], ".keras"))
@pytest.mark.parametrize(
    ("other", "words"),
    [
        ({"stride_in_3x3": True}, "conv3_block1_._conv' has strides"),
        ({"epsilon": 1e-3}, "has epsilon 0.001"),
    ],
)
def test_a_whole_model_with_other_settings_is_refused(
    suffix: str, other: dict[str, object], words: str, tmp_path: Path
) -> None:
    bottleneck(**other).save(tmp_path / f"other{suffix}")
    bottleneck().save(tmp_path / f"same{suffix}")

    load_weights(bottleneck(), tmp_path / f"same{suffix}", backbone="resnet50")
    with pytest.raises(UsageError, match=words):
        load_weights(bottleneck(), tmp_path / f"other{suffix}", backbone="resnet50")


def nested(*, twice: bool) -> keras.Model:
    """Return a classifier with one or two copies of a network inside."""
    entry = keras.Input((16, 16, 3))
    outputs = []
    for number in range(2 if twice else 1):
        inner = keras.Input((16, 16, 3))
        outputs.append(keras.Model(inner, build_tiny_resnet(inner), name=f"inner{number}")(entry))
    x = layers.Add()(outputs) if twice else outputs[0]
    return keras.Model(entry, layers.Dense(2)(layers.GlobalAveragePooling2D()(x)))


@pytest.mark.parametrize("suffix", unless_thorough([".keras", ".h5", ".weights.h5"], ".keras"))
def test_a_model_inside_a_model_is_found_and_two_are_refused(suffix: str, tmp_path: Path) -> None:
    for name, twice in (("one", False), ("two", True)):
        model = nested(twice=twice)
        path = tmp_path / f"{name}{suffix}"
        model.save_weights(path) if suffix == ".weights.h5" else model.save(path)

    check_weights(get_backbone("tiny_resnet"), (16, 16), tmp_path / f"one{suffix}")
    with pytest.raises(UsageError, match="several models with a layer"):
        read_layers(tmp_path / f"two{suffix}")


def test_a_truncated_file_is_reported_in_words_of_our_own(tmp_path: Path) -> None:
    path = tmp_path / "cut.h5"
    write_keras_h5(path, {"conv": [np.ones((3, 3, 3, 800), np.float32)]})
    path.write_bytes(path.read_bytes()[:20_000])

    with pytest.raises(UsageError, match="incomplete or damaged") as caught:
        read_layers(path)

    assert "eof" not in caught.value.message


def test_a_folder_of_weights_that_is_a_file_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "file"
    file.write_text("")
    monkeypatch.setenv("TLTOOL_WEIGHTS_DIR", str(file))

    with pytest.raises(EnvironmentProblem, match="TLTOOL_WEIGHTS_DIR names the file"):
        weights_store.find("vgg16")

    result = CliRunner().invoke(app, ["weights", "list"])
    assert result.exit_code == 5 and "TLTOOL_WEIGHTS_DIR" in result.stderr


def test_weights_that_do_not_fit_are_refused_before_the_images_are_read(tmp_path: Path) -> None:
    write_keras_h5(tmp_path / "other.h5", {"conv": [np.ones((3, 3, 3, 8), np.float32)]})
    for label in ("a", "b"):
        (tmp_path / "photos" / label).mkdir(parents=True)
        for number in range(3):
            (tmp_path / "photos" / label / f"{number}.jpg").write_bytes(b"no image")

    arguments = ["--backbone", "tiny_vgg", "--weights", str(tmp_path / "other.h5")]
    result = CliRunner().invoke(
        app, ["finetune", str(tmp_path / "photos"), "--out", str(tmp_path / "run"), *arguments]
    )

    assert result.exit_code == 2 and "do not fit tiny_vgg" in result.stderr
    assert "no image" not in result.stderr and not (tmp_path / "run" / "data_issues.csv").exists()
