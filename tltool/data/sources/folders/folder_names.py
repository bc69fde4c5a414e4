"""What the name of a folder says: a split, images, annotations, or a folder of the system."""

from __future__ import annotations

import re
from typing import Literal, NamedTuple

Role = Literal["train", "validation", "test", "eval"]
"""``eval`` is the test split, or the validation split where another folder is the test split."""

_ROLES: dict[str, Role] = {
    **dict.fromkeys(("train", "training", "trainval"), "train"),
    **dict.fromkeys(("val", "valid", "validation", "validate", "dev", "devel"), "validation"),
    **dict.fromkeys(("test", "testing", "holdout"), "test"),
    **dict.fromkeys(("eval", "evaluation"), "eval"),
}
_FILLERS = frozenset(
    {"set", "sets", "image", "images", "img", "imgs", "photo", "photos", "pic", "pics", "picture"}
    | {"pictures", "data", "dataset", "datasets", "split", "folder", "dir", "part", "subset"}
    | {"sample", "samples", "file", "files", "jpg", "jpeg", "png", "seg"}
)
_UNLABELLED = frozenset(
    {"pred", "predict", "prediction", "predictions", "unlabelled", "unlabeled", "submission"}
)
_PLACEHOLDERS = frozenset(  # of a folder that a loader of class folders requires around images
    {"unknown", "unknowns", "all", "unsorted", "unclassified", "uncategorized", "uncategorised"}
    | {"dummy", "nolabel", "nolabels"}
)
_IMAGES = frozenset(
    {"image", "images", "img", "imgs", "photo", "photos", "pic", "pics", "picture", "pictures"}
    | {"jpg", "jpgs", "jpeg", "jpegs", "png", "pngs", "rgb", "original", "originals"}
)
_ANNOTATIONS = frozenset(
    {"annotation", "annotations", "ann", "anns", "label", "labels", "mask", "masks", "matte"}
    | {"segmentation", "segmentations", "segmented", "trimap", "trimaps", "groundtruth", "gt"}
    | {"xml", "xmls", "bbox", "bboxes", "seg", "segs"}
)
_DOCUMENTATION = frozenset(
    {"doc", "docs", "asset", "assets", "figure", "figures", "fig", "figs", "screenshot", "static"}
    | {"screenshots", "media", "notebooks", "src", "script", "scripts", "code", "paper", "papers"}
    | {"demo", "example", "examples", "sample", "samples", "meta", "metadata"}
    | {"preview", "previews", "thumbnail", "thumbnails", "thumb", "thumbs"}
    | {"log", "logs", "checkpoint", "checkpoints", "output", "outputs", "result", "results"}
)
_PART = frozenset(  # of a set that was divided for its size, or as it was taken
    {"part", "parts", "batch", "chunk", "shard", "fold", "folder", "archive", "disk", "volume"}
    | {"video", "clip", "scene", "sequence", "seq", "session", "camera", "cam", "canon", "dcim"}
)
_PAIRS = tuple(
    frozenset(words.split())
    for words in (
        *("rgb depth", "images depth", "rgb ir", "vis ir", "visible infrared", "left right"),
        *("input target", "input output", "noisy clean", "hazy clear", "blur sharp", "hr lr"),
        *("before after", "original augmented", "original resized", "low high"),
        *("source target", "day night", "sketch photo", "edges photo", "optical sar", "pre post"),
    )
)
_LETTERS = (frozenset("ab"), frozenset("xy"))  # of the two sides of a pair, or grades, or signs
# Synology, QNAP, NetApp; Windows; macOS; ext4; Android; environments of programs
_SYSTEM_NAMES = frozenset(
    {"@eadir", "@tmp", "@recycle", "@recently-snapshot", "@sharebin", "#recycle", "#snapshot"}
    | {"~snapshot", "$recycle.bin", "system volume information"}
    | {"found.000", "thumbs.db", "ehthumbs.db", "desktop.ini", "__macosx", "icon\r"}
    | {"network trash folder", "temporary items", "lost+found", "lost.dir", "__pycache__"}
    | {"_gsdata_", "node_modules", "venv", "recycler"}
)
_SYSTEM_ENDS = (".lrdata", ".photoslibrary", ".aplibrary")  # catalogues of Lightroom and Apple
_JOINED = (  # (pattern, the word that it is)
    (r"(hold|held)[\W_]*out", "holdout"),
    (r"no[\W_]*labels?(?![a-z])", "nolabel"),
    (r"train[\W_]*val(id(ation)?)?(?![a-z])", "trainval"),
    (r"ground[\W_]*truth", "groundtruth"),
    (r"gt(fine|coarse)", "gt"),  # of Cityscapes, as the next one
    (r"leftimg8bit", "images"),
)
_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[^\W\d_A-Za-z]+")
_WORD_OF_SPLIT = re.compile(
    f"({'|'.join(sorted(_ROLES, key=len, reverse=True))})"
    f"({'|'.join(sorted(_FILLERS, key=len, reverse=True))})"
)


class Part(NamedTuple):
    """The split that a folder's name contains.

    Attributes:
        role: the split.
        rest: other words, without ``set``, ``images`` and the like; the split folders of one data
            set have the same: ``("seg",)`` for ``seg_train`` and ``seg_test``.
    """

    role: Role
    rest: tuple[str, ...]


def part_named(name: str) -> Part | None:
    """Return the split that a folder's name contains, None if it contains none or several.

    ``training_set``, ``TrainImages``, ``train2017`` and ``01_train`` are the training split.
    Whether a folder is one depends on its content too: ``train`` may be a class, of vehicles.

    Examples:
        >>> part_named("test_set")
        Part(role='test', rest=())
        >>> part_named("test tubes")
        Part(role='test', rest=('tubes',))
    """
    for text in (name, name.lower()):  # "trainSet" has two words, "TRAINset" too
        words = _words(text)
        roles = [_ROLES[word] for word in words if word in _ROLES]
        if len(roles) == 1:
            rest = tuple(word for word in words if word not in _ROLES and word not in _FILLERS)
            return Part(roles[0], rest)
    return None


def is_unlabelled_name(name: str) -> bool:
    """Return whether a folder's name says that its images have no labels, as ``seg_pred`` does."""
    return not _UNLABELLED.isdisjoint(_words(name))


def is_placeholder_name(name: str) -> bool:
    """Return whether a name stands for no class, as the only folder of a split: ``unknown``."""
    words = set(_words(name)) - _FILLERS
    return bool(words) and _PLACEHOLDERS.issuperset(words)


def is_image_folder_name(name: str) -> bool:
    """Return whether a folder is named after images, not after a class: ``images``, ``image_2``."""
    words = _words(name)
    return bool(words) and _IMAGES.issuperset(words)


def is_annotation_name(name: str) -> bool:
    """Return whether a folder is named after annotations: ``masks``, ``labels``, ``gtFine``."""
    return not _ANNOTATIONS.isdisjoint(_words(name))


def is_plain_images_name(name: str) -> bool:
    """Return whether a folder's name says ``images`` and nothing else; ``photo`` may be a class."""
    return is_image_folder_name(name) and any(
        word.startswith(("image", "img", "jp", "png")) for word in _words(name)
    )


def is_annotations_only(name: str) -> bool:
    """Return whether no word of a name is that of a class: ``masks``, not ``with_mask``."""
    return is_annotation_name(name) and (_ANNOTATIONS | _IMAGES).issuperset(_words(name))


def is_annotations_of(name: str, images: str) -> bool:
    """Return whether a name is that of a folder of images and annotations: ``ISIC_GroundTruth``."""
    of_images, words = content_words(images), content_words(name)
    rest = tuple(word for word in words if word not in _ANNOTATIONS)
    return bool(rest) and rest != words and rest == of_images


def is_part_name(name: str) -> bool:
    """Return whether a name without its number is that of a part of a set: ``images_part_``."""
    words = _words(name)
    return not _PART.isdisjoint(words) or any(word in _IMAGES for word in words)


def pair_named(first: str, second: str, *, alone: bool) -> bool:
    """Return whether two folders are named as those of paired images: ``rgb`` and ``depth``.

    Args:
        first: the name of a folder.
        second: the name of another one.
        alone: whether there are no others; only then ``A`` and ``B`` are, or ``x`` and ``y``.
    """
    words = set(_words(first)) ^ set(_words(second))
    numbers = {re.sub(r"\d+", "", name.lower()) for name in (first, second)}
    of_cameras = len(numbers) == 1 and is_image_folder_name(first)  # image_0 and image_1
    return of_cameras or words in _PAIRS or (alone and words in _LETTERS)


def is_documentation_name(name: str) -> bool:
    """Return whether a folder is named like those around the data: ``docs``, ``thumbnails``."""
    words = [word for word in _words(name) if word not in _IMAGES]
    return bool(words) and _DOCUMENTATION.issuperset(words)


def content_words(name: str) -> tuple[str, ...]:
    """Return the words of a name without splits, ``set``, ``images`` and the like."""
    return tuple(word for word in _words(name) if word not in _ROLES and word not in _FILLERS)


def is_hidden_name(name: str) -> bool:
    """Return whether a file or folder is hidden, or belongs to an operating system or a NAS."""
    lower = name.lower()
    return name.startswith(".") or lower in _SYSTEM_NAMES or lower.endswith(_SYSTEM_ENDS)


def _words(name: str) -> list[str]:
    """Return the words of a name in lower case, without digits."""
    for pattern, word in _JOINED:
        name = re.sub(pattern, word, name, flags=re.IGNORECASE)
    words: list[str] = []
    for word in (match.lower() for match in _WORD.findall(name)):
        joined = _WORD_OF_SPLIT.fullmatch(word)
        words += joined.groups() if joined else [word]
    return words
