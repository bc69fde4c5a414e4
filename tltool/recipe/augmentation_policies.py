"""Named augmentation policies, as parts of a recipe, and the default for a data set size."""

from typing import Any, Literal, NamedTuple

AUTO: Literal["auto"] = "auto"
MIXUP_PAYS = 5_000
"""Number of training images from which the default uses mixup; on smaller data sets it costs more
accuracy than it gains (Kolesnikov et al. 2020, Big Transfer, section 3.3: none below 20,000)."""

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
        "translation": {"fraction": 0.03},
        "scale": {"amount": 0.05},
        "shear": {"degrees": 2.0},
        "color_jitter": {
            "brightness": 0.2, "contrast": 0.2, "saturation": 0.0, "hue": 0.0, "probability": 0.8,
        },
        "blur": {"sigma": 1.0, "probability": 0.3},
        "noise": {"stddev": 10.0, "probability": 0.3},
        "jpeg": {"min_quality": 50, "probability": 0.3},
    },
}  # fmt: skip


class PolicyChoice(NamedTuple):
    """A policy and the reason for it."""

    policy: str
    why: str


def policy_for(images: int) -> PolicyChoice:
    """Return the default policy for a number of training images."""
    if images < MIXUP_PAYS:
        return PolicyChoice("light", f"{images:,} training images; mixup needs {MIXUP_PAYS:,}")
    return PolicyChoice("medium", f"{images:,} training images are enough for mixup")


def fill_from_policy(section: Tree) -> Tree:
    """Return a section `augment` whose `auto` keys are filled in from its policy.

    If the section configures a transform itself, the policy only sets the keys that are missing.
    """
    policy = {**OFF, **POLICIES[section["policy"]]}
    return section | {key: _fill(section.get(key, AUTO), policy[key]) for key in OFF}


def _fill(value: Any, policy: Any) -> Any:
    if isinstance(value, str) and value == AUTO:
        return policy
    both = isinstance(value, dict) and isinstance(policy, dict)
    return {**policy, **value} if both else value
