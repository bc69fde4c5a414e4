"""The section `train` of a recipe: optimizer, learning rate, loss, feature cache and phases."""

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from tltool.recipe.section import Count, Fraction, Positive, Section


class CacheSection(Section):
    """The feature cache: activations of the frozen layers, computed once instead of every epoch."""

    mode: Literal["auto", "on", "off"] = "auto"
    """on: the frozen layers run once per augmented view. off: the network runs on images in every
    epoch, with new augmentation. auto: the one that is estimated to be faster; the reason is
    logged."""
    views: Annotated[int, Field(ge=1, le=64)] = 2
    """Cached views of each training image. The first is the original image, the others are
    augmented."""


def refit_shorthand(value: Any) -> Any:
    """Return on or off for true or false; other values are unchanged."""
    return ("on" if value else "off") if isinstance(value, bool) else value


def cache_shorthand(value: Any) -> Any:
    """Return the section that `train.cache: auto | on | off` (or true, false) abbreviates."""
    if isinstance(value, bool):
        return {"mode": "on" if value else "off"}
    return {"mode": value} if isinstance(value, str) else value


class ProbeSection(Section):
    """The first phase, a linear probe: logistic regression on pooled features of the backbone."""

    enabled: bool = True
    """Whether to fit it. It is the baseline, and linear heads are initialised from it."""
    c_values: Annotated[tuple[Positive, ...], Field(min_length=1, max_length=12)] = (
        1e-3, 3e-3, 1e-2, 3e-2, 1e-1, 3e-1, 1.0,
    )  # fmt: skip
    """Candidates for C, the inverse L2 regularization strength of scikit-learn. Cross-validation
    chooses the smallest one within one standard error of the best."""
    folds: Annotated[int, Field(ge=2, le=20)] = 5
    """Folds of that cross-validation."""
    rows: Annotated[int, Field(ge=10)] = 200_000
    """Most training images that it is fitted on. Of more, this many are used: of each class its
    share, evenly spaced, and at least ten."""


class HeadPhaseSection(Section):
    """The second phase: the head alone, on frozen features of all views."""

    epochs: Count = 20
    """Maximum number of epochs; 0 skips the phase."""
    learning_rate: Positive = 1e-3
    """Peak learning rate."""


class FinetunePhaseSection(Section):
    """The third phase: the upper stages of the backbone together with the head."""

    epochs: Count = 10
    """Maximum number of epochs; 0 skips the phase."""
    unfreeze: str = "last"
    """First stage that is trained, with everything above it: a stage name such as block5, `last`
    for the backbone's last stage, `all`, or `head` to keep the whole backbone frozen."""
    learning_rate: Positive = 2e-4
    """Peak learning rate of the highest unfrozen stage and the head."""
    stage_decay: Annotated[float, Field(gt=0, le=1)] = 1.0
    """Factor on the learning rate from each stage to the stage below it (discriminative learning
    rates; Howard and Ruder 2018)."""
    unfreeze_every: Count = 0
    """Epochs before the next lower stage is unfrozen (gradual unfreezing; Howard and Ruder 2018). 0
    trains all unfrozen stages from the first epoch."""


Monitor = Literal["val_calibrated_loss", "val_balanced_loss", "val_loss", "val_accuracy"]
"""A validation metric that selects the best weights."""


class EarlyStoppingSection(Section):
    """Early stopping. The best weights of all phases are restored at the end."""

    monitor: Literal[
        "auto", "val_calibrated_loss", "val_balanced_loss", "val_loss", "val_accuracy"
    ] = "auto"
    """The validation metric that decides which weights are best. val_calibrated_loss is the
    log-loss after temperature scaling; val_balanced_loss is the mean over the classes of that loss.
    auto: val_balanced_loss with imbalance weights or balanced_sampling; else val_calibrated_loss,
    or val_loss without evaluate.calibrate."""
    patience: Annotated[int, Field(ge=1)] = 3
    """Epochs without improvement after which a phase ends. With unfreeze_every the count is reset
    when a stage is unfrozen, and the phase does not end before the last one is."""
    min_delta: Annotated[float, Field(ge=0)] = 0.0
    """Smallest change that counts as an improvement."""


OptimizerName = Literal["adam", "adamw", "sgd", "rmsprop", "lion"]
"""An optimizer that a recipe can name."""


class TrainSection(Section):
    """How the network is trained."""

    batch_size: Annotated[int, Field(ge=1, le=4096)] = 32
    """Images per step."""
    accumulate: Annotated[int, Field(ge=1, le=4096)] = 1
    """Gradient accumulation: each batch is processed in this many parts, one after another, and the
    weights are updated once with the gradient of the whole batch. More parts need less memory and
    give the same weights within rounding; only dropout masks, and the statistics of batch
    normalisation that is trained, are those of a part."""
    optimizer: OptimizerName = "adamw"
    """The optimizer of Keras: adam, adamw, sgd with momentum, rmsprop or lion. lion needs a
    learning rate 3 to 10 times lower than adamw (Chen et al. 2023)."""
    momentum: Fraction = 0.9
    """Momentum, with optimizer: sgd; 0 is plain gradient descent."""
    nesterov: bool = False
    """Nesterov momentum, with optimizer: sgd (Sutskever et al. 2013)."""
    weight_decay: Annotated[float, Field(ge=0, lt=1)] = 1e-4
    """Decoupled weight decay of kernels; biases and normalisation layers are excluded. adam has
    none: adam with weight decay is adamw."""
    l2: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Factor of the L2 penalty: the sum of squares of all trained kernels times this is added to
    the loss. With adamw it is not equivalent to weight decay (Loshchilov and Hutter 2019)."""
    max_norm: Positive | None = None
    """Max-norm constraint: the weight vector into each unit is rescaled to at most this norm after
    each step (Srivastava et al. 2014 use 3 to 4, for networks from scratch)."""
    clip_norm: Positive | None = None
    """Gradient clipping: the global norm of the gradient is rescaled to at most this (Pascanu et
    al. 2013)."""
    schedule: Literal["cosine", "constant", "step", "plateau", "one_cycle"] = "cosine"
    """Learning rate after the warm-up: cosine decays to zero, constant stays; step multiplies by
    decay_factor every step_epochs, plateau when the validation loss no longer improves. one_cycle
    rises over the first 30 % of the steps, whatever warmup_epochs says, and decays to almost zero
    (Smith and Topin 2018)."""
    decay_factor: Annotated[float, Field(gt=0, lt=1)] = 0.1
    """Factor on the learning rate of the schedules step and plateau."""
    step_epochs: Annotated[int, Field(ge=1)] = 10
    """Epochs between two decays, with schedule: step."""
    plateau_patience: Annotated[int, Field(ge=1)] = 2
    """Epochs without improvement before a decay, with schedule: plateau."""
    warmup_epochs: Annotated[float, Field(ge=0, le=100)] = 2.0
    """Epochs over which the learning rate rises linearly from zero."""
    label_smoothing: Fraction = 0.0
    """Fraction of each label spread evenly over all classes (Szegedy et al. 2016)."""
    imbalance: Literal["none", "weights", "balanced_sampling", "focal"] = "none"
    """Remedy for class imbalance. weights: class weights in the loss, inverse to class frequency.
    balanced_sampling: each class is sampled equally often. focal: focal loss, in which images that
    are already classified with confidence count less (Lin et al. 2017)."""
    focal_gamma: Annotated[float, Field(ge=0, le=10)] = 2.0
    """Focusing parameter of the focal loss, with imbalance: focal; 0 is cross-entropy."""
    ema: Annotated[float, Field(ge=0, lt=1)] = 0.95
    """Momentum per step of an exponential moving average of the weights; the average is what is
    validated and kept. 0 switches it off."""
    precision: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    """Arithmetic of the network. auto: bfloat16 if the GPU or processor supports it, else float32;
    on a processor that supports it a measurement, made once and remembered, may choose float32."""
    deterministic: bool = True
    """Bit-identical weights for the same recipe, data and machine."""
    jit_compile: bool = False
    """Compile the training step with XLA. Needs deterministic: false, because XLA has no
    deterministic gradient of max pooling; precision: float32 on a CPU; and one device."""
    cache: Annotated[CacheSection, BeforeValidator(cache_shorthand)] = CacheSection()
    """The feature cache; auto, on or off sets the mode alone."""
    cache_decoded: Literal["auto", "on", "off"] = "auto"
    """Where the network runs on images in every epoch: on decodes each image once, to a file in the
    run folder that is removed at the end. Training pixels are rounded to whole numbers of 0 to 255
    before augmentation; validation images are exact. off decodes in every epoch. auto: on with a
    GPU, two epochs or more and enough disk space, else off."""
    probe: ProbeSection = ProbeSection()
    """First phase."""
    head: HeadPhaseSection = HeadPhaseSection()
    """Second phase."""
    finetune: FinetunePhaseSection = FinetunePhaseSection()
    """Third phase."""
    early_stopping: EarlyStoppingSection = EarlyStoppingSection()
    """When a phase ends early."""
    refit: Annotated[Literal["auto", "on", "off"], BeforeValidator(refit_shorthand)] = "off"
    """Refit: at the end the model is trained again from the pretrained weights, on training and
    validation images together, for the numbers of epochs that validation chose; that model is
    exported. Temperature, prediction sets and the OOD threshold are those of the model before, and
    so are all figures on validation images. auto: if the validation images were drawn from the
    training images; not if the source defines them or they are a fold."""
