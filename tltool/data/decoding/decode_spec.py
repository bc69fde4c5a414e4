"""The size to which images are decoded; free of TensorFlow."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal, cast, get_args

LARGEST_SIDE = 1 << 14
"""Pixels; the sizes of a description of someone else are bounded."""

Resize = Literal["squash", "crop", "pad"]


@dataclass(frozen=True)
class DecodeSpec:
    """The target size, and how an image of another aspect ratio is resized.

    ``squash`` ignores the aspect ratio, ``crop`` takes the largest centred box of the target's
    aspect ratio, ``pad`` fits the whole image and pads it with black.
    """

    height: int
    width: int
    resize: Resize = "squash"

    def __post_init__(self) -> None:
        sizes_valid = all(1 <= side <= LARGEST_SIDE for side in (self.height, self.width))
        if not sizes_valid or self.resize not in get_args(Resize):
            raise ValueError(f"invalid decode spec: {self}")

    def to_json(self) -> dict[str, Any]:
        """Return the spec as a JSON-ready dict."""
        return asdict(self)

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> DecodeSpec:
        """Return the spec that ``to_json`` wrote."""
        return cls(
            height=int(document["height"]),
            width=int(document["width"]),
            resize=cast(Resize, document["resize"]),
        )
