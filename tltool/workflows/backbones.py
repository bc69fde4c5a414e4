"""List the backbones, and show the layers of one as a table or a diagram."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tltool.errors import UsageError
from tltool.models.backbone_registry import BACKBONES, Backbone, PreprocessMode, get_backbone
from tltool.recipe.source_text import HUB, is_model_file
from tltool.storage.durable import new_file
from tltool.training.own_settings import with_own_settings
from tltool.weights import weights_store
from tltool.workflows.preflight.arguments import check_picture
from tltool.workflows.resolve.find_backbone import find_backbone

if TYPE_CHECKING:
    from tltool.models.layer_folds import Fold
    from tltool.models.layer_table import LayerRow


@dataclass(frozen=True)
class BackboneLayers:
    """The layers of a backbone with the head of its paper.

    Attributes:
        backbone: its registry entry.
        size: height and width of the image.
        channels: input channels of the first layer.
        rows: every layer after the preprocessing.
        folds: the same, folded into fewer lines.
    """

    backbone: Backbone
    size: int
    channels: int
    rows: list[LayerRow]
    folds: list[Fold]

    def totals(self) -> dict[str, dict[str, int]]:
        """Return parameters and multiply-adds of the backbone, the head, and in total."""
        totals: dict[str, dict[str, int]] = {"backbone": {}, "head": {}, "total": {}}
        for key in ("parameters", "multiply_adds"):
            head = sum(getattr(row, key) for row in self.rows if row.stage == "head")
            total = sum(getattr(row, key) for row in self.rows)
            for part, value in zip(totals, (total - head, head, total), strict=True):
                totals[part][key] = value
        return totals

    def to_json(self) -> dict[str, Any]:
        """Return a JSON-ready dictionary."""
        backbone = self.backbone
        return {
            "name": backbone.name,
            "paper": backbone.paper,
            "input": [self.size, self.size, self.channels],
            "preprocessing": backbone.preprocessing,
            "classes": backbone.head.classes,
            "layers": [asdict(row) for row in self.rows],
            "totals": self.totals(),
        }


def backbone_rows() -> list[dict[str, Any]]:
    """Return one row per backbone: its registry entry, and whether its weights are stored."""
    stored_names = {stored.name for stored in weights_store.listing()}
    return [
        {
            "name": backbone.name,
            "family": backbone.family,
            "parameters": backbone.parameters,
            "multiply_adds": backbone.multiply_adds,
            "image_size": backbone.image_size,
            "stages": [stage.name for stage in backbone.stages],
            "preprocessing": backbone.preprocessing,
            "licence": backbone.licence,
            "paper": backbone.paper,
            "weights_stored": backbone.name in stored_names,
        }
        for backbone in BACKBONES.values()
        if backbone.family != "test"
    ]


def check_layers(
    name: str, size: int | None, preprocessing: PreprocessMode | None, diagram: Path | None
) -> None:
    """Check the arguments of ``backbone_layers`` and ``draw_layers`` before loading TensorFlow.

    A model file is checked when it is read, which needs Keras.

    Raises:
        UsageError: an unknown name, a size too small for it, preprocessing of a backbone that has
            its own, or a picture that exists already.
    """
    if not (is_model_file(name) or name.startswith(HUB)):
        backbone = get_backbone(name)
        if preprocessing is not None:
            raise UsageError(
                f"--preprocessing is for a model file, and {name} has the preprocessing "
                f"{backbone.preprocessing}",
                hint="leave --preprocessing out",
            )
        side = size or backbone.image_size
        backbone.check_size(side, side, option="--image-size")
    if diagram is not None:
        check_picture(diagram, option="--output")


@with_own_settings
def backbone_layers(
    name: str, size: int | None = None, preprocessing: PreprocessMode | None = None
) -> BackboneLayers:
    """Return the layers of the backbone ``name`` for square images.

    Args:
        name: its name in the registry, the path of a Keras model without its head, or
            ``hub:PRESET``.
        size: side of the images in pixels; by default that of its training images.
        preprocessing: what the model of a file expects; None where it scales its input itself.

    Raises:
        UsageError: an unknown name, a file that is no backbone, or a size too small for it.
        EnvironmentProblem: KerasHub is missing.

    Examples:
        >>> layers = backbone_layers("lenet5")
        >>> layers.totals()["total"]["parameters"]
        61706
    """
    from tltool.models.build import outline
    from tltool.models.layer_folds import fold_rows
    from tltool.models.layer_table import layer_rows

    backbone = find_backbone(name, preprocessing, side=size)
    side = size or backbone.image_size
    model = outline(backbone, (side, side))
    channels = int(model.get_layer("preprocess").output.shape[-1])
    rows = layer_rows(model, backbone)
    return BackboneLayers(backbone, side, channels, rows, fold_rows(rows))


def draw_layers(path: Path, layers: BackboneLayers) -> None:
    """Draw ``layers`` as a PNG file.

    Raises:
        UsageError: the file exists or cannot be written.
    """
    from tltool.models.layer_diagram import draw_layers as draw

    check_picture(path, option="--output")
    total = layers.totals()["total"]
    title = (
        f"{layers.backbone.name}: {total['parameters']:,} parameters, "
        f"{total['multiply_adds']:,} multiply-adds"
    )
    with new_file(path) as part, part.open("wb") as file:
        draw(file, layers.folds, title=title, image=(layers.size, layers.size, layers.channels))
