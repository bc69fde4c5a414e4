"""Files that are named as copies of others are found, and the advised groups keep them together."""

import re
from pathlib import Path
from typing import get_args

import pytest

from tltool.data.catalog import Item, SplitName
from tltool.data.checks.copy_names import copies_by_name, copy_name_findings

COPIES = {
    "flipped and rotated": ("{}.jpg", "{}_flip.jpg", "{}_rot90.jpg"),
    "several changes": ("{}.png", "{}_hflip_bright2.png", "{}-aug-3.png"),
    "Roboflow": (
        "{}_jpg.rf.bccb8be700ec751c9ce6de1c1a737586.jpg",
        "{}_jpg.rf.d08338ec943d9565a32659510df22621.jpg",
    ),
    "WordPress": ("{}.jpg", "{}-150x150.jpg", "{}-1024x768.jpg"),
    "thumbnails": ("{}.jpg", "thumb_{}.jpg"),
    "copies": ("{}.jpg", "{} copy.jpg", "{} copy 2.jpg"),
}
NAMES = ("IMG_0012", "rose-7", "1030023514_aad5c608f9", "flipper", "airport 3")


def items(patterns: tuple[str, ...], split: SplitName | None = None) -> list[Item]:
    return [
        Item(Path("cat") / pattern.format(name), "cat", given_split=split)
        for name in NAMES
        for pattern in patterns
    ]


@pytest.mark.parametrize("case", COPIES)
def test_copies_are_found_and_the_advised_groups_keep_them_together(case: str) -> None:
    images = items(COPIES[case])
    assert len(copies_by_name(images)) == len(NAMES)
    (finding,) = copy_name_findings(lambda item: str(item.path), images)
    copies = len(images) - len(NAMES)
    assert finding.detail.startswith(f"{copies} files are named as copies of 5 others, such as ")
    assert finding.severity == "warning"
    pattern = re.search(r"--group '(.*)'$", finding.suggestion)
    assert pattern is not None
    groups = {}
    for image in images:
        found = re.search(pattern[1], image.path.as_posix())
        assert found is not None
        groups.setdefault(found[1], []).append(image)
    assert [len(group) for group in groups.values()] == [len(COPIES[case])] * len(NAMES)


def test_a_copy_in_another_split_is_serious() -> None:
    images = [*items(("{}.jpg",), "train"), *items(("{}_flip.jpg",), get_args(SplitName)[1])]
    (finding,) = copy_name_findings(lambda item: str(item.path), images)
    assert finding.severity == "serious"
    assert "5 originals have copies in another split (data leakage)" in finding.detail


@pytest.mark.parametrize(
    "names",
    [
        ("a.jpg", "b.jpg", "cat_1.jpg", "cat_2.jpg"),  # numbers are no copies
        ("a_flip.jpg", "b_flip.jpg"),  # without their originals
        ("benign (1).png", "benign (2).png"),
        ("a.jpg", "a_flip.jpg"),  # one alone
        ("crop_1.jpg", "crop_2.jpg", "copy.jpg", "flip.jpg", "rot.jpg"),
    ],
)
def test_other_names_are_no_copies(names: tuple[str, ...]) -> None:
    images = [Item(Path("cat") / name, "cat") for name in names]
    assert not [*copy_name_findings(lambda item: str(item.path), images)]
