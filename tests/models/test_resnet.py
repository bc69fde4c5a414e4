"""ResNet-18/34 are laid out as torchvision's are."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from tltool.models.resnet import build_resnet


def resnet(depth: int, size: int) -> keras.Model:
    images = keras.Input((size, size, 3))
    return keras.Model(images, build_resnet(depth, images))


# torchvision.models.resnet18/34 without fc: sum(p.numel() for p in parameters())
@pytest.mark.parametrize(("depth", "parameters"), [(18, 11_176_512), (34, 21_284_672)])
def test_learnable_parameters_are_torchvisions(depth: int, parameters: int) -> None:
    model = resnet(depth, 64)
    assert sum(int(np.prod(w.shape)) for w in model.trainable_weights) == parameters
    assert {"conv1", "bn1", "layer2_0_downsample_0", "layer4_1_bn2"} <= {
        layer.name for layer in model.layers
    }


@pytest.mark.parametrize(("size", "side"), [(224, 7), (64, 2), (65, 3), (33, 2)])
def test_odd_sizes_round_up_as_in_torchvision(size: int, side: int) -> None:
    assert tuple(resnet(18, size).output.shape) == (None, side, side, 512)


def test_the_stem_pads_the_same_on_all_sides() -> None:
    model = resnet(18, 16)
    stem = keras.Model(model.input, model.get_layer("conv1").output)
    x = np.random.default_rng(0).normal(size=(1, 16, 16, 3)).astype("float32")
    kernel = model.get_layer("conv1").get_weights()[0]
    padded = np.pad(x[0], ((3, 3), (3, 3), (0, 0)))
    expected = np.stack(
        [
            [np.tensordot(padded[r : r + 7, c : c + 7], kernel, 3) for c in range(0, 16, 2)]
            for r in range(0, 16, 2)
        ]
    )
    np.testing.assert_allclose(np.asarray(stem(x))[0], expected, atol=1e-4)
