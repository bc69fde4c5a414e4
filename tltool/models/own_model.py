"""The description of a backbone of the user's own as JSON.

It needs no TensorFlow; ``tltool.models.own_backbone`` reads the file.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tltool.models.backbone import Backbone, ModelFile, OriginalHead, Stage


def to_json(backbone: Backbone) -> dict[str, Any]:
    """Return a JSON-ready dictionary from which ``from_json`` makes the same backbone."""
    document = asdict(backbone)
    if document["file"]:
        document["file"]["path"] = Path(document["file"]["path"]).name  # of another machine
    return document


def from_json(document: Mapping[str, Any]) -> Backbone:
    """Return the backbone that ``to_json`` wrote.

    Raises:
        KeyError, TypeError: the document is damaged.
    """
    fields = dict(document)
    fields["stages"] = tuple(
        Stage(**{**stage, "windows": tuple(tuple(one) for one in stage["windows"])})
        for stage in fields["stages"]
    )
    head = fields["head"]
    fields["head"] = OriginalHead(**{**head, "hidden": tuple(head["hidden"])})
    file = fields["file"]
    if file:
        place = {"path": Path(file["path"]), "sides": tuple(file["sides"])}
        fields["file"] = ModelFile(**{**file, **place})
    return Backbone(**fields)
