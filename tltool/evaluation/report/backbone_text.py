"""How the backbone of a run was chosen, in words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def describe_backbone_choice(manifest: Mapping[str, Any]) -> str:
    """Return sentences on the choice of the backbone; empty if the recipe names it.

    Args:
        manifest: the document of manifest.json.
    """
    choice = manifest.get("backbone_choice")
    if not choice:
        return ""
    sentences = [f"Backbone: {choice['summary']}.", choice["saving"] and f"{choice['saving']}."]
    return " ".join(filter(None, sentences))
