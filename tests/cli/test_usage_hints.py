"""The slips of a new user: each ends with exit code 2 and a sentence that says how to mend it."""

from __future__ import annotations

import shlex

import pytest

SLIPS = {
    "train photos": "Did you mean 'finetune'?",
    "check photos": "Did you mean 'data check'?",
    "list": "Did you mean 'backbones list' or 'recipes list' or 'runs list' or 'weights list'?",
    "finetune": "For example: tltool finetune photos/",
    "finetune photos --epoch 3": "Did you mean --epochs?",
    "finetune photos --lr 0.1": "Did you mean --learning-rate?",
    "finetune photos -lr 0.1": "Did you mean --learning-rate?",
    "finetune photos --output run": "Did you mean --out?",
    "finetune photos --gpu": "Did you mean --device gpu?",
    "finetune --data photos": "an argument without a name: ",
    "predict run photos --out x.csv": "Did you mean --output?",
    "predict --model run photos": " predict MODEL IMAGE...",
    "finetune photos --set train.head.epochs 5": "by '=': --set train.head.epochs=5",
    "finetune photos --set train.head.epochs= 5": "after '=': --set train.head.epochs=5",
    "finetune photos --set train.lr=0.1": "'train.head.learning_rate' or 'train.finetune.lear",
    "finetune photos --set train.epochs=3": "'train.head.epochs' or 'train.finetune.epochs'",
    "finetune vgg16 photos": " finetune photos --recipe vgg16",
    "finetune photos resnet18": " finetune photos --backbone resnet18",
    "finetune photos --recipe vgg": "Did you mean 'vgg16'?",
    "finetune --recipe photos quick": "a folder of images is the argument DATA",
    "finetune photos/cat photos/dog": "the one that holds these: photos",
    "finetune my photos": 'in quotation marks: "my photos"',
    "finetune photos --epochs 5 --set train.head.epochs=4": "keep one of them",
    "finetune photos --batch-size 8 --set train.batch_size=9": "keep one of them",
    "finetune photos --learning-rate 0": "--learning-rate 0 (train.finetune.learning_rate): ",
    "finetune photos --recipe quick --epochs 5": "fits only the linear probe",
}


@pytest.mark.parametrize("slip", SLIPS)
def test_a_slip_of_a_new_user_is_answered_with_the_mend(slip, tltool, make_photos, tmp_path):
    photos = make_photos(tmp_path / "here" / "photos", n=1)
    photos.with_name("my photos").mkdir()
    result = tltool(*shlex.split(slip))
    assert result.exit_code == 2
    assert SLIPS[slip] in result.stderr
    assert not list(tmp_path.glob("here/runs"))
