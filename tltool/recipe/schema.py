"""The recipe: the one place where every setting, its type, its range and its default stand."""

from typing import Annotated, Any, Literal, TypeAlias

from pydantic import BeforeValidator, Field

from tltool.recipe.augment_section import AugmentSection
from tltool.recipe.section import Count, Fraction, Positive, Section

Norm: TypeAlias = Literal["none", "batch", "sync_batch", "layer", "instance", "group"]

PIXELS_PATTERN = r"^[1-9][0-9]{0,4}x[1-9][0-9]{0,4}(x[13])?$"

FOLD_PATTERN = r"^[0-9]{1,6}(/([2-9]|[1-9][0-9]))?$"

DROPOUT = 0.2  # of a head, where neither the recipe nor the backbone's paper says another

FORMAT = 1  # of recipe files; a change that an older tltool would misread adds one


def fold_text(value: Any) -> Any:
    """Return a number of a fold as the text that `data.fold` is."""
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


class DataSection(Section):
    """How images are read and divided."""

    source: Annotated[str, Field(min_length=1)] | None = None
    """The images, for `tltool recipes run` without them: a folder, an archive, a table, or
    tfds:NAME. A relative path starts at the folder of the recipe file that says it; null means that
    the command names the images."""
    pixels: Annotated[str, Field(pattern=PIXELS_PATTERN)] | None = None
    """Height x width, or height x width x 3, of the images in a table of pixels; null means square,
    grey or RGB, whichever fits the number of columns."""
    image_size: Annotated[int, Field(ge=16, le=2048)] | None = None
    """Side in pixels of the square the network sees; null means the backbone's own."""
    resize: Literal["squash", "crop", "pad"] = "crop"
    """How an image becomes a square: crop keeps the centre, squash ignores the aspect, pad adds
    black borders."""
    validation_fraction: Annotated[float, Field(gt=0, lt=0.9)] = 0.2
    """Share of the images held out for early stopping and calibration when the folder has no
    validation part."""
    test_fraction: Annotated[float, Field(ge=0, lt=0.9)] = 0.0
    """Share of the images opened only once, by the final evaluation. With 0 and no test folder the
    validation part is reported, which is a little optimistic."""
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
    """A file with more pixels than this is left out undecoded (it may be a decompression bomb)."""


class HeadSection(Section):
    """The new classifier on top of the backbone."""

    kind: (
        Literal["gap", "gap_conv", "gap_max", "mlp", "flatten", "attention", "original"] | None
    ) = None
    """gap: global average pooling, dropout, dense. gap_conv: 1x1 convolution to the classes, then
    global average pooling. gap_max: average and maximum pooling side by side. mlp: one hidden
    layer. flatten: one hidden layer on all positions, without pooling. attention: a mean over
    positions by learnt weights (Ilse et al. 2018). original: the classifier of the backbone's
    paper. null means original for lenet5, alexnet and digits_cnn, else gap."""
    dropout: Fraction | None = None
    """Share of the inputs of the last layer dropped in training; of each hidden layer with
    original. null means the paper's own for original, else 0.2."""
    dropout_kind: Literal["dropout", "gaussian", "spatial", "alpha", "dropconnect"] = "dropout"
    """What `dropout` drops. dropout: numbers. gaussian: none, but all are multiplied by noise.
    spatial: whole feature maps, which makes a difference in gap_conv, flatten and original. alpha:
    as dropout, but mean and variance stay. dropconnect: weights of the dense layers."""
    attention_dropout: Fraction = 0.0
    """Share of the attention weights dropped in training, with kind: attention."""
    hidden_units: Annotated[int, Field(ge=1, le=65536)] = 256
    """Width of the hidden layer of the heads mlp and flatten."""
    norm: Norm = "layer"
    """Normalisation of the hidden layer of the heads mlp and flatten. With batch the moving
    averages need hundreds of steps, which few images do not make."""


class DropBlockSection(Section):
    """DropBlock (Ghiasi et al. 2018): squares of feature maps dropped in the last two stages."""

    rate: Annotated[float, Field(gt=0, lt=1)] = 0.1
    """Share of the positions dropped, about."""
    size: Annotated[int, Field(ge=1, le=64)] = 3
    """Side of the squares, in positions of the feature map."""


class RegularizeSection(Section):
    """What is done inside the backbone. Pretrained weights fit all of it but another norm."""

    stochastic_depth: Fraction = 0.0
    """Probability that the last residual block of a ResNet is skipped for an image in training;
    block l of L has l / L of it (Huang et al. 2016)."""
    drop_block: DropBlockSection | None = None
    """DropBlock on residual branches, or after convolutions where there are none."""
    norm: Norm = "batch"
    """Normalisation in the place of batch normalisation, for ResNets from scratch. sync_batch takes
    its means over all GPUs and fits pretrained weights too."""


class ModelSection(Section):
    """The network."""

    backbone: str = "vgg16"
    """Name of the backbone; `tltool backbones list` lists them."""
    weights: str = "imagenet"
    """imagenet, random, or the path of a weights file."""
    batch_norm: Literal["frozen", "train"] = "frozen"
    """Whether the backbone's batch normalisation keeps its pretrained statistics."""
    norm_groups: Annotated[int, Field(ge=1, le=2048)] | None = None
    """Groups of group normalisation, which must divide the channels; null means 32, or the most
    below that divide them."""
    head: HeadSection = HeadSection()
    """The new classifier."""
    regularize: RegularizeSection = RegularizeSection()
    """What is done inside the backbone."""


class CacheSection(Section):
    """What is computed once and kept, instead of once per epoch."""

    mode: Literal["auto", "on", "off"] = "auto"
    """on: the frozen trunk is computed once per augmented view. off: the usual live path, with new
    augmentation every epoch. auto: whichever is estimated to be faster, and says why."""
    views: Annotated[int, Field(ge=1, le=64)] = 2
    """Views of each training image that are cached. The first is the plain image, the others are
    augmented."""


def cache_shorthand(value: Any) -> Any:
    """Return what `train.cache: auto | on | off` (or true, false) is short for."""
    if isinstance(value, bool):
        return {"mode": "on" if value else "off"}
    return {"mode": value} if isinstance(value, str) else value


class ProbeSection(Section):
    """The first phase: a regularised logistic regression on pooled features of the backbone."""

    enabled: bool = True
    """Whether to run it. Its solution is the baseline and the first state of the head."""
    strengths: Annotated[tuple[Positive, ...], Field(min_length=1, max_length=12)] = (
        1e-3, 3e-3, 1e-2, 3e-2, 1e-1, 3e-1, 1.0,
    )  # fmt: skip
    """Inverse L2 strengths C (scikit-learn's meaning) to choose from by cross-validation; the
    smallest within one standard error of the best is taken."""
    folds: Annotated[int, Field(ge=2, le=20)] = 5
    """Folds of that cross-validation."""


class HeadPhaseSection(Section):
    """The second phase: the head alone, on frozen features of all views."""

    epochs: Count = 20
    """Most epochs; 0 skips the phase."""
    learning_rate: Positive = 1e-3
    """Peak learning rate."""


class FinetunePhaseSection(Section):
    """The third phase: the upper stages of the backbone together with the head."""

    epochs: Count = 5
    """Most epochs; 0 skips the phase."""
    unfreeze: str = "last"
    """First stage that is trained, with everything above it: a stage name such as block5, `last`
    for the backbone's last stage, `all`, or `head` for nothing of the backbone."""
    learning_rate: Positive = 2e-4
    """Peak learning rate of the highest unfrozen stage and the head."""
    stage_decay: Annotated[float, Field(gt=0, le=1)] = 1.0
    """Each stage below learns at this multiple of the rate of the stage above it (discriminative
    learning rates; Howard and Ruder 2018)."""
    unfreeze_every: Count = 0
    """Epochs before each next lower stage joins (gradual unfreezing; Howard and Ruder 2018). 0
    trains all unfrozen stages from the first epoch."""


class EarlyStoppingSection(Section):
    """When to stop. The best state of all phases is restored at the end."""

    monitor: Literal["val_loss", "val_accuracy"] = "val_loss"
    """The measure on the validation part that decides which state is best."""
    patience: Annotated[int, Field(ge=1)] = 3
    """Epochs without improvement before a phase ends. With unfreeze_every they are counted
    anew when a stage joins, and the phase does not end before the last one has."""
    min_delta: Annotated[float, Field(ge=0)] = 0.0
    """Smallest change that counts as an improvement."""


class TrainSection(Section):
    """How the network learns."""

    batch_size: Annotated[int, Field(ge=1, le=4096)] = 32
    """Images per step."""
    optimizer: Literal["adamw", "sgd"] = "adamw"
    """adamw, or sgd with momentum 0.9; both with decoupled weight decay."""
    weight_decay: Annotated[float, Field(ge=0, lt=1)] = 1e-4
    """Decoupled weight decay of kernels (biases and normalisation are spared)."""
    l2: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Times the sum of squares of all trained kernels, this is added to the loss: the penalty that
    weight decay replaces. With adamw the two are not the same (Loshchilov and Hutter 2019)."""
    max_norm: Positive | None = None
    """Longest vector of weights into one unit of a trained kernel; longer ones are shortened after
    each step (Srivastava et al. 2014 have 3 to 4, for networks from scratch)."""
    clip_norm: Positive | None = None
    """Longest gradient over all trained weights together; longer ones are shortened (Pascanu et al.
    2013)."""
    schedule: Literal["cosine", "constant", "step", "plateau", "one_cycle"] = "cosine"
    """Learning rate after the warm-up: cosine to zero, constant, or times decay_factor every
    step_epochs (step) or when validation no longer improves (plateau). one_cycle rises over the
    first 30 % of the steps, whatever the warm-up, and falls to almost zero (Smith and Topin
    2018)."""
    decay_factor: Annotated[float, Field(gt=0, lt=1)] = 0.1
    """What the schedules step and plateau multiply the rate with."""
    step_epochs: Annotated[int, Field(ge=1)] = 10
    """Epochs between two such steps with schedule: step."""
    plateau_patience: Annotated[int, Field(ge=1)] = 2
    """Epochs without improvement that are a plateau, with schedule: plateau."""
    warmup_epochs: Annotated[float, Field(ge=0, le=100)] = 2.0
    """Epochs over which the learning rate rises from zero."""
    label_smoothing: Fraction = 0.0
    """Share of each label spread over all classes (Szegedy et al. 2016)."""
    imbalance: Literal["none", "weights", "balanced_sampling", "focal"] = "none"
    """What is done where classes differ in size. weights: each class counts the same in the loss.
    balanced_sampling: each class comes equally often in every epoch. focal: images that are already
    told apart count less (Lin et al. 2017)."""
    focal_gamma: Annotated[float, Field(ge=0, le=10)] = 2.0
    """How much less, with imbalance: focal; 0 is plain cross-entropy."""
    ema: Annotated[float, Field(ge=0, lt=1)] = 0.95
    """Momentum per step of an exponential moving average of the weights, which is what is
    validated and kept; 0 is off."""
    precision: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    """Arithmetic of training. auto: bfloat16 where the processor or GPU has it, else float32."""
    deterministic: bool = True
    """Same recipe, data and machine, same weights, to the bit."""
    cache: Annotated[CacheSection, BeforeValidator(cache_shorthand)] = CacheSection()
    """What is computed once and kept; auto, on or off is short for the mode alone."""
    probe: ProbeSection = ProbeSection()
    """First phase."""
    head: HeadPhaseSection = HeadPhaseSection()
    """Second phase."""
    finetune: FinetunePhaseSection = FinetunePhaseSection()
    """Third phase."""
    early_stopping: EarlyStoppingSection = EarlyStoppingSection()
    """When to stop."""


class EvaluateSection(Section):
    """The final evaluation."""

    calibrate: bool = True
    """Fit a temperature on the validation part (Guo et al. 2017) and keep it in the model."""
    coverage: Annotated[float, Field(ge=0.5, lt=1)] | None = 0.95
    """Share of images like the validation ones that the model shall call known; it calls others
    unknown by their features. null leaves this out."""
    min_accuracy: Annotated[float, Field(ge=0, le=1)] = 0.0
    """Fail (exit code 4) and export nothing when the accuracy is lower."""
    asserts: Annotated[tuple[str, ...], Field(min_length=0, max_length=64)] = ()
    """Conditions that the model must meet, or the run fails (exit code 4) and exports nothing:
    accuracy>=0.9, recall[CLASS]>=0.85, ece<=0.05 and the like; docs/evaluation.md lists them."""
    report: bool = True
    """Write report.html, with heat maps over the worst mistakes; it takes a few seconds."""
    strict: bool = False
    """Hold asserts against the worse end of the 95 % interval instead of the figure itself."""
    label_errors: bool = True
    """Look for wrong labels among training and validation images (confident learning; Northcutt et
    al. 2021) and write label_errors.csv. It takes seconds, on features that are there already."""


class ExportSection(Section):
    """What is exported at the end of a run."""

    enabled: bool = True
    """Whether to write saved_models/<name>/<version>/."""
    parity_images: Annotated[int, Field(ge=1, le=1024)] = 8
    """Images on which the export must give the same answers as the model it came from."""
    tolerance: Positive = 1e-5
    """Largest difference of a probability that passes."""
    top_k: Annotated[int, Field(ge=0, le=1000)] = 5
    """Best classes that the SavedModel names one by one, with their probabilities; 0 is none."""


class Recipe(Section):
    """A whole run: read from YAML by `tltool.recipe.load`, written resolved into the run folder."""

    format: Annotated[int, Field(ge=1, le=FORMAT)] = FORMAT
    """Version of the recipe format. A recipe of a later version of tltool is refused."""
    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")] = "vgg16"
    """Name of the run and of the exported model: letters, digits, dot, dash, underscore. A recipe
    file that says none is called after itself."""
    seed: Annotated[int, Field(ge=0, lt=2**31)] = 0
    """Seed of the split, the initial weights, the order and the augmentation."""
    data: DataSection = DataSection()
    """How images are read and divided."""
    model: ModelSection = ModelSection()
    """The network."""
    augment: AugmentSection = AugmentSection()
    """Random changes of the training images."""
    train: TrainSection = TrainSection()
    """How the network learns."""
    evaluate: EvaluateSection = EvaluateSection()
    """The final evaluation."""
    export: ExportSection = ExportSection()
    """What is exported."""
