"""What can be augmented, as plain data. Imports no framework."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from typing import Literal

Flip = Literal["none", "horizontal", "vertical", "horizontal_and_vertical"]


@dataclass(frozen=True)
class AugmentSpec:
    """Which random changes a training photo undergoes; ``None`` switches one off.

    Attributes:
        flip: mirror images to draw from.
        crop: (smallest share of the area kept, largest stretch of width against height).
        cutout: side of the largest hidden rectangle as a share of the photo's side.
        mixup: both parameters of the Beta distribution of the blend.
        cutmix: both parameters of the Beta distribution of the pasted area.
    """

    flip: Flip = "none"
    crop: tuple[float, float] | None = None
    cutout: float | None = None
    mixup: float | None = None
    cutmix: float | None = None

    @property
    def mixes(self) -> bool:
        """Whether photos are blended, so that labels become soft."""
        return self.mixup is not None or self.cutmix is not None

    @property
    def identity(self) -> bool:
        """Whether nothing at all is changed."""
        return self == AugmentSpec()

    def digest(self) -> str:
        """Return 16 hex digits that name this specification."""
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()[:16]
