"""To what size images are decoded, known without TensorFlow."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal, cast, get_args

Resize = Literal["squash", "crop", "pad"]


@dataclass(frozen=True)
class DecodeSpec:
    """To what size images are brought, and how a different aspect ratio is met.

    ``squash`` stretches, ``crop`` takes the largest centred box of the target's aspect ratio,
    ``pad`` fits the whole image in and fills the rest with black.
    """

    height: int
    width: int
    resize: Resize = "squash"

    def __post_init__(self) -> None:
        if self.height < 1 or self.width < 1 or self.resize not in get_args(Resize):
            raise ValueError(f"not a decode spec: {self}")

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
