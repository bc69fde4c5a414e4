"""Named policies of augmentation, as parts of a recipe, and the one for a number of images."""

from typing import Any, Literal, NamedTuple

AUTO: Literal["auto"] = "auto"
MIXUP_PAYS = 5_000
"""Training images from which the default blends images: few images lose more by it than they gain
(Kolesnikov et al. 2020, Big Transfer, section 3.3, who blend none below 20,000)."""

Tree = dict[str, Any]

OFF: Tree = {"flip": "none"} | dict.fromkeys(
    (
        "crop", "rotation", "translation", "scale", "shear", "color_jitter", "grayscale",
        "rand_augment", "aug_mix", "blur", "noise", "jpeg", "cutout", "grid_mask", "mixup",
        "cutmix",
    )
)  # fmt: skip

POLICIES: dict[str, Tree] = {
    "none": {},
    "light": {"flip": "horizontal", "crop": {"min_area": 0.6, "max_aspect": 1.25}},
    "medium": {
        "flip": "horizontal",
        "crop": {"min_area": 0.4, "max_aspect": 1.33},
        "rotation": {"degrees": 10.0},
        "color_jitter": {
            "brightness": 0.2, "contrast": 0.2, "saturation": 0.2, "hue": 0.02, "probability": 0.8,
        },
        "mixup": {"alpha": 0.1},
    },
    "strong": {
        "flip": "horizontal",
        "crop": {"min_area": 0.25, "max_aspect": 1.33},
        "rand_augment": {"operations": 2, "magnitude": 5.0},
        "cutout": {"size": 0.3},
        "mixup": {"alpha": 0.2},
        "cutmix": {"alpha": 1.0},
    },
    "fine_grained": {
        "flip": "horizontal",
        "crop": {"min_area": 0.5, "max_aspect": 1.2},
        "rotation": {"degrees": 10.0},
        "color_jitter": {
            "brightness": 0.15, "contrast": 0.15, "saturation": 0.1, "hue": 0.0, "probability": 0.8,
        },
    },
    "documents": {
        "rotation": {"degrees": 3.0},
        "translation": {"share": 0.03},
        "scale": {"amount": 0.05},
        "shear": {"degrees": 2.0},
        "color_jitter": {
            "brightness": 0.2, "contrast": 0.2, "saturation": 0.0, "hue": 0.0, "probability": 0.8,
        },
        "blur": {"sigma": 1.0, "probability": 0.3},
        "noise": {"deviation": 10.0, "probability": 0.3},
        "jpeg": {"min_quality": 50, "probability": 0.3},
    },
}  # fmt: skip


class Choice(NamedTuple):
    """A policy and the reason for it."""

    policy: str
    why: str


def policy_for(photos: int) -> Choice:
    """Return the policy for a number of training images."""
    if photos < MIXUP_PAYS:
        return Choice("light", f"{photos:,} training images; mixup pays from {MIXUP_PAYS:,} on")
    return Choice("medium", f"{photos:,} training images are enough for mixup")


def completed(section: Tree) -> Tree:
    """Return a section `augment` in which its policy says what the section leaves to it.

    With a section of its own for one change, the policy only gives the keys that it leaves out.
    """
    policy = {**OFF, **POLICIES[section["policy"]]}
    return section | {key: _filled(section.get(key, AUTO), policy[key]) for key in OFF}


def _filled(given: Any, policy: Any) -> Any:
    if isinstance(given, str) and given == AUTO:
        return policy
    both = isinstance(given, dict) and isinstance(policy, dict)
    return {**policy, **given} if both else given
