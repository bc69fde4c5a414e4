"""What the registry of backbones holds, for people and programs."""

from __future__ import annotations

from typing import Any

from tltool.models.backbones import BACKBONES
from tltool.weights import store


def backbone_rows() -> list[dict[str, Any]]:
    """Return one row per backbone: its registry entry, and whether its weights are at hand."""
    at_hand = {stored.name for stored in store.listing()}
    return [
        {
            "name": backbone.name,
            "parameters": backbone.parameters,
            "image_size": backbone.image_size,
            "stages": [stage.name for stage in backbone.stages],
            "preprocessing": backbone.preprocessing,
            "licence": backbone.licence,
            "paper": backbone.paper,
            "weights_at_hand": backbone.name in at_hand,
        }
        for backbone in BACKBONES.values()
        if backbone.family != "test"
    ]
