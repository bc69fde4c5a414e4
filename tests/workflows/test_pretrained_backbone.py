"""The original backbone is kept while the classifier is fine-tuned."""

import numpy as np
import pytest

from tltool.models.backbone_registry import get_backbone
from tltool.models.build import build_model
from tltool.models.network_parts import Network
from tltool.training.precision import FLOAT32
from tltool.training.validation import Pooling
from tltool.workflows.training_run.pretrained_backbone import PretrainedBackbone

SIDE = 32


def tiny_network() -> Network:
    backbone = get_backbone("tiny_vgg")
    model = build_model(
        backbone,
        image_size=(SIDE, SIDE),
        classes=3,
        head="gap",
        dropout=0.0,
        hidden_units=1,
        norm="none",
        weights=None,
        seed=0,
    )
    return Network(model, backbone, "gap")


@pytest.mark.parametrize("stage", ["block3", "block1", None])
def test_both_backbones_of_one_pass(stage: str | None) -> None:
    network = tiny_network()
    images = np.random.default_rng(0).uniform(0, 255, (4, SIDE, SIDE, 3)).astype(np.float32)
    before = Pooling(network.images_to_pooled, FLOAT32)(images)
    backbones = PretrainedBackbone(network, stage, FLOAT32)
    for group in network.trained_from(stage) if stage else ():
        for variable in group:
            variable.assign(variable + 0.1)
    after = Pooling(network.images_to_pooled, FLOAT32)(images)
    current, original = backbones.pooled(images)
    np.testing.assert_array_equal(current, after)
    np.testing.assert_array_equal(original, before)
    assert (stage is None) == np.array_equal(before, after)
