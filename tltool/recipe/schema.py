"""The recipe: every setting with its type, range and default. Larger sections have own files."""

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from tltool.recipe.augment_section import AugmentSection
from tltool.recipe.model_section import ModelSection
from tltool.recipe.section import Positive, Section
from tltool.recipe.train_section import TrainSection

PIXELS_PATTERN = r"^([1-9][0-9]{0,4}x[1-9][0-9]{0,4}(x[13])?|3x[1-9][0-9]{0,4}x[1-9][0-9]{0,4})$"

FOLD_PATTERN = r"^[0-9]{1,6}(/([2-9]|[1-9][0-9]))?$"

NAME_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"

PATTERNS = {  # in words, for messages
    NAME_PATTERN: "must consist of 1 to 64 letters A to Z, digits, dots, dashes and underscores, "
    "and start with a letter or digit",
    PIXELS_PATTERN: "must be a shape such as 28x28, 28x28x3 or 3x28x28",
    FOLD_PATTERN: "must be a fold such as 2, or 2/5 for fold 2 of 5",
}

FORMAT = 1  # of recipe files; a change that an older tltool would misread adds one


def fold_text(value: Any) -> Any:
    """Return a fold number as text, the type of `data.fold`; other values are unchanged."""
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


class DataSection(Section):
    """How images are read and split."""

    source: Annotated[str, Field(min_length=1)] | None = None
    """Data source when the command line names none (`tltool recipes run`): a folder, an archive, a
    table, parquet:PATH, wds:PATH, tfds:NAME, or an address such as s3://bucket/photos. A relative
    path is relative to the folder of the recipe file; null means that the command line names the
    source."""
    pixels: Annotated[str, Field(pattern=PIXELS_PATTERN)] | None = None
    """Shape of the images in a table of pixel values, such as 28x28 or 28x28x3 (height, width,
    channels), or 3x28x28 where all red values come first, then green, then blue; null means square,
    greyscale or RGB, whichever fits the number of columns."""
    image_size: Annotated[int, Field(ge=16, le=2048)] | Literal["auto"] | None = "auto"
    """Side in pixels of the square network input. null: the backbone's own. auto: the same, but
    with pretrained weights and smaller images about their size: the median of the shorter sides of
    training and validation images, rounded up to a multiple of 32, and at least 64."""
    resize: Literal["squash", "crop", "pad"] = "crop"
    """How an image becomes square: crop takes the centre, squash ignores the aspect ratio, pad adds
    black borders."""
    validation_fraction: Annotated[float, Field(gt=0, lt=0.9)] = 0.2
    """Fraction of the images in the validation set, which is used for early stopping and
    calibration, when the source has no validation set of its own."""
    test_fraction: Annotated[float, Field(ge=0, lt=0.9)] = 0.0
    """Fraction of the images in the test set, which only the final evaluation reads. With 0 and no
    test folder the metrics are those of the validation set, which is slightly optimistic."""
    fold: Annotated[str, Field(pattern=FOLD_PATTERN), BeforeValidator(fold_text)] | None = None
    """Cross-validation: this fold is the validation part, all others train. `2` is fold 2 of the
    table's column fold; `2/5` is fold 2 of 0 to 4, which are drawn like the split. Test images are
    in no fold."""
    ood_images: Annotated[str, Field(min_length=1)] | None = None
    """Out-of-distribution (OOD) images, which show none of the classes; the OOD threshold is set on
    them too. The name of a folder next to the class folders, or the path of any source."""
    on_bad: Literal["skip", "fail"] = "skip"
    """What to do with unreadable files: leave them out with a warning, or stop."""
    max_bad_fraction: Annotated[float, Field(ge=0, le=1)] = 0.1
    """Stop when more than this share of the files is unreadable, even with on_bad: skip."""
    max_pixels: Annotated[int, Field(ge=1024)] = 100_000_000
    """A file with more pixels than this is skipped without decoding it (decompression bomb)."""


class EvaluateSection(Section):
    """The final evaluation."""

    calibrate: bool = True
    """Temperature scaling, fitted on the validation set (Guo et al. 2017) and stored in the
    model."""
    prior_correction: bool = False
    """With imbalance weights or balanced_sampling: subtract the logarithm of the class weights from
    the logits (Saerens et al. 2002), so that probabilities follow the class frequencies of the
    training images. Small classes are then predicted less often."""
    coverage: Annotated[float, Field(ge=0.5, lt=1)] | None = 0.95
    """Fraction of in-distribution images that the OOD detector accepts; it sets the OOD threshold.
    null leaves the detector out."""
    coverage_confidence: Annotated[float, Field(gt=0, lt=1)] | None = None
    """With this confidence, such as 0.9, the OOD detector accepts at least coverage of all
    in-distribution images (tolerance limit); null: it accepts coverage of them on average."""
    min_accuracy: Annotated[float, Field(ge=0, le=1)] = 0.0
    """Minimum accuracy; below it the run fails (exit code 4) and exports nothing."""
    asserts: Annotated[tuple[str, ...], Field(min_length=0, max_length=64)] = ()
    """Conditions on the metrics, such as accuracy>=0.9, recall[CLASS]>=0.85 or ece<=0.05; if one
    does not hold the run fails (exit code 4) and exports nothing. docs/evaluation.md lists the
    metrics."""
    report: bool = True
    """Write report.html, with heat maps of the worst errors; it takes a few seconds."""
    strict: bool = False
    """Check asserts against the worse end of the 95 % confidence interval, not the estimate."""
    label_errors: bool = True
    """Search training and validation images for label errors (confident learning; Northcutt et
    al. 2021) and write label_errors.csv. It takes seconds, on features that exist already; random
    features are not searched."""
    learning_curve: bool = True
    """Measure what more images would bring: a learning curve of the linear probe, for at most 1,000
    images and pretrained weights. It takes seconds, on features that exist already."""


class ExportSection(Section):
    """What is exported at the end of a run."""

    enabled: bool = True
    """Whether to write saved_models/<name>/<version>/."""
    parity_images: Annotated[int, Field(ge=1, le=1024)] = 8
    """Images on which the export must predict the same as the trained model."""
    tolerance: Positive = 1e-5
    """Largest allowed difference of a probability."""
    top_k: Annotated[int, Field(ge=0, le=1000)] = 5
    """Number of top classes that the SavedModel returns with their probabilities; 0 for none."""


class Recipe(Section):
    """A whole run: read from YAML by `tltool.recipe.load`, saved resolved in the run folder."""

    format: Annotated[int, Field(ge=1, le=FORMAT)] = FORMAT
    """Version of the recipe format. A recipe of a later version is an error."""
    name: Annotated[str, Field(pattern=NAME_PATTERN)] = "vgg16"
    """Name of the run and of the exported model: letters, digits, dot, dash, underscore. Without it
    the run is named after the recipe file, and the exported model after the folder or file of the
    data."""
    seed: Annotated[int, Field(ge=0, lt=2**31)] = 0
    """Seed of the split, the initial weights, the order of images and the augmentation."""
    data: DataSection = DataSection()
    """How images are read and split."""
    model: ModelSection = ModelSection()
    """The network."""
    augment: AugmentSection = AugmentSection()
    """Augmentation of the training images."""
    train: TrainSection = TrainSection()
    """How the network is trained."""
    evaluate: EvaluateSection = EvaluateSection()
    """The final evaluation."""
    export: ExportSection = ExportSection()
    """What is exported."""
