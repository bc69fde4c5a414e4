"""Methods that cannot do what a recipe asks of them: one sentence, exit code 2, nothing written."""

from __future__ import annotations

import pytest

RESNET = "model.backbone=tiny_resnet"

REFUSED = {
    "mixup with a sigmoid in the head": (
        ("augment.mixup.alpha=0.2", "model.head.activation=sigmoid"),
        "unknown key 'model.head.activation'",
    ),
    "a head of one sigmoid": (
        ("augment.mixup.alpha=0.2", "model.head.kind=sigmoid"),
        "model.head.kind: Input should be 'gap',",
    ),
    "a binary loss": (
        ("augment.mixup.alpha=0.2", "train.loss=binary_crossentropy"),
        "unknown key 'train.loss'",
    ),
    "cutmix of pooled features": (
        ("augment.feature_cutmix={}", "train.finetune.epochs=0"),
        "changes the feature maps from which the fine-tune phase starts",
    ),
    "cutmix of maps of one position": (
        (
            "augment.feature_cutmix={}",
            "model.backbone=resnet50v2",  # halves its maps at the end of a stage
            "train.finetune.unfreeze=conv5",
            "data.image_size=32",
        ),
        "augment.feature_cutmix needs feature maps of more than 1x1 positions",
    ),
    "a cache of nothing": (
        ("train.cache=on", "train.finetune.unfreeze=all"),
        "train.finetune.unfreeze leaves no frozen part to cache",
    ),
    "DropBlock larger than the map": (
        ("model.regularize.drop_block.size=9", RESNET),
        "DropBlock's squares of 9 x 9 do not fit into the 8 x 8 maps",
    ),
    "stochastic depth without residual blocks": (
        ("model.regularize.stochastic_depth=0.2", "model.backbone=vgg16"),
        "stochastic depth skips residual blocks, and vgg16 has none",
    ),
    "groups that do not divide the channels": (
        ("model.regularize.norm=group", "model.norm_groups=3", RESNET),
        "3 groups do not divide the 16 channels of",
    ),
    "groups that do not divide the hidden layer": (
        ("model.head.kind=mlp", "model.head.norm=group", "model.norm_groups=7"),
        "7 groups do not divide the 256 channels of head_norm",
    ),
    "too small for the network": (("data.image_size=16", "model.backbone=vgg16"), "at least 32 px"),
    "too small for any": (("data.image_size=7",), "data.image_size"),
    "a probability above one": (("augment.flip_probability=1.5",), "augment.flip_probability"),
    "a probability below zero": (("augment.blur.probability=-0.1",), "augment.blur.probability"),
    "a share that is everything": (("model.head.dropout=1",), "model.head.dropout"),
    "a depth of more than all": (("model.regularize.stochastic_depth=1.5",), "stochastic_depth"),
    "an unknown augmentation": (("augment.cutmx.alpha=1",), "Did you mean 'augment.cutmix'?"),
    "an unknown policy": (("augment.policy=storng",), "Did you mean 'strong'?"),
}


@pytest.mark.parametrize(("settings", "told"), REFUSED.values(), ids=list(REFUSED))
def test_a_method_that_cannot_be_used_is_refused_and_nothing_is_written(
    finetune_tiny, the_error, make_photos, untouched, tmp_path, settings, told
):
    photos = untouched(make_photos())
    result = finetune_tiny(photos, settings=settings)
    assert result.exit_code == 2
    assert told in the_error(result)
    assert [path.name for path in tmp_path.iterdir()] == ["here", "photos"]
