"""The section `model` of a recipe: backbone, weights, head and regularization of the backbone."""

from typing import Annotated, Literal, TypeAlias

from pydantic import Field

from tltool.recipe.section import Fraction, Section

Norm: TypeAlias = Literal["none", "batch", "sync_batch", "layer", "instance", "group"]

Preprocessing: TypeAlias = Literal["caffe", "tf", "tf128", "torch", "lite", "unit", "grey", "none"]

AUTO = "auto"  # as backbone: chosen by measurement on the training images
DROPOUT = 0.2  # rate of a head when neither the recipe nor the backbone's paper sets one


class HeadSection(Section):
    """The new classifier on top of the backbone."""

    kind: (
        Literal["gap", "gap_conv", "gap_max", "mlp", "flatten", "attention", "original"] | None
    ) = None
    """gap: global average pooling, dropout, dense. gap_conv: 1x1 convolution to the classes, then
    global average pooling. gap_max: global average and global max pooling, concatenated. mlp: one
    hidden layer. flatten: one hidden layer on all positions, without pooling. attention: attention
    pooling, a weighted mean over positions (Ilse et al. 2018). original: the classifier of the
    backbone's paper. null means original for lenet5, alexnet and digits_cnn, gap for the others."""
    dropout: Fraction | None = None
    """Dropout rate of the inputs of the last layer; with kind: original, of each hidden layer. null
    means the rate of the paper for original, 0.2 for the others."""
    dropout_kind: Literal["dropout", "gaussian", "spatial", "alpha", "dropconnect"] = "dropout"
    """What `dropout` drops. dropout: single activations. gaussian: nothing is dropped, activations
    are multiplied by Gaussian noise. spatial: whole feature maps, which differs from dropout in
    gap_conv, flatten and original. alpha: dropout that preserves mean and variance. dropconnect:
    weights of the dense layers."""
    attention_dropout: Fraction = 0.0
    """Dropout rate of the attention weights, with kind: attention."""
    hidden_units: Annotated[int, Field(ge=1, le=65536)] = 256
    """Width of the hidden layer of the heads mlp and flatten."""
    norm: Norm = "layer"
    """Normalisation of the hidden layer of the heads mlp and flatten. The moving averages of batch
    normalisation need hundreds of steps, more than a small data set gives."""


class DropBlockSection(Section):
    """DropBlock (Ghiasi et al. 2018): square regions of feature maps dropped, last two stages."""

    rate: Annotated[float, Field(gt=0, lt=1)] = 0.1
    """Approximate fraction of the positions that is dropped."""
    size: Annotated[int, Field(ge=1, le=64)] = 3
    """Side of the squares, in positions of the feature map."""


class RegularizationSection(Section):
    """Regularization inside the backbone. All but another `norm` works with pretrained weights."""

    stochastic_depth: Fraction = 0.0
    """Probability that the last residual block of a ResNet is skipped for an image in training;
    block l of L is skipped with l / L of it (Huang et al. 2016)."""
    drop_block: DropBlockSection | None = None
    """DropBlock on residual branches, or after convolutions in networks without residual blocks."""
    norm: Norm = "batch"
    """Normalisation that replaces batch normalisation, for ResNets from scratch. sync_batch
    computes its statistics over all GPUs and also works with pretrained weights."""


class ModelSection(Section):
    """The network."""

    backbone: str = "vgg16"
    """Name of the backbone; `tltool backbones list` lists them. Or the path of a Keras model of
    your own without its head, relative to the recipe file: backbone.keras. Or a preset of KerasHub:
    hub:PRESET or hub:FOLDER. auto: `tltool finetune` and `tltool recipes run` compare pretrained
    backbones on training images by a linear probe, the fastest first, and take the fastest whose
    accuracy is within one standard error of the best."""
    preprocessing: Preprocessing | None = None
    """What a model of your own expects of pixels: caffe (BGR minus the ImageNet mean), tf (-1 to
    1), tf128 (over 128, minus 1), torch (0 to 1, standardised as ImageNet), lite (minus 127, over
    128), unit (0 to 1), grey (one channel, 0 to 1) or none (0 to 255). null means none where the
    model scales its input itself, and an error where it does not."""
    weights: str = "imagenet"
    """imagenet, random, or the path of a weights file. For a model of your own, imagenet means the
    weights in its file."""
    batch_norm: Literal["frozen", "train"] = "frozen"
    """Whether the backbone's batch normalisation keeps its pretrained statistics (frozen) or is
    trained."""
    norm_groups: Annotated[int, Field(ge=1, le=2048)] | None = None
    """Number of groups of group normalisation, which must divide the channels; null means 32, or
    the largest divisor below."""
    head: HeadSection = HeadSection()
    """The new classifier."""
    regularization: RegularizationSection = RegularizationSection()
    """Regularization inside the backbone."""
