"""One small network of each family of keras.applications, from images to every export."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import by_cost
from tltool.models.backbone_registry import get_backbone
from tltool.workflows.export import export
from tltool.workflows.finetune import FinetuneResult

OF_EACH_FAMILY = (
    "mobilenet_v2",
    "mobilenet_v3_small",
    "nasnet_mobile",
    "efficientnet_b0",
    "efficientnet_v2_b0",
    "densenet121",
    "inception_v3",
    "inception_resnet_v2",
    "xception",
    "convnext_tiny",
)
# Cells of NASNet cannot be trained in part; a step of its whole network takes a minute to trace.
HEAD_ONLY = "train.finetune.epochs=0"


@pytest.mark.slow
@pytest.mark.parametrize("name", by_cost(OF_EACH_FAMILY, thorough=("mobilenet_v3_small",)))
def test_it_is_trained_exported_and_converted(
    name: str, fruit: Path, tmp_path: Path, finetune_tiny: Callable[..., FinetuneResult]
) -> None:
    """Every export is compared with the trained model on decoded images before it is published."""
    backbone = get_backbone(name)
    last = backbone.stages[-1].name
    result = finetune_tiny(
        fruit,
        f"model.backbone={name}",
        f"data.image_size={max(backbone.min_size, 48)}",
        HEAD_ONLY if name == "nasnet_mobile" else f"train.finetune.unfreeze={last}",
    )
    exported = export(result.run, "saved_model,litert,onnx,keras", out=tmp_path / "exports")
    assert len(exported.folders) == 4
