"""What to do with files of arrays that are no source: NumPy, MATLAB, IDX (MNIST), CIFAR, HDF5."""

from __future__ import annotations

import re
import zipfile
from collections.abc import Sequence
from pathlib import Path

_ARRAYS = "call tltool.finetune((images, labels)) in Python with the two arrays"
_BY_NAME: tuple[tuple[str, str], ...] = (  # of a file in lower case, without .gz
    (
        r".*idx[13][-_.]u?byte|.*\.idx[13]?",
        "for MNIST give tfds:mnist (also tfds:fashion_mnist, tfds:kmnist, tfds:emnist); for other"
        f" IDX files {_ARRAYS}",
    ),
    (
        r"data_batch_[1-5](\.bin|\.mat)?|test_batch(\.bin|\.mat)?|batches\.meta(\.txt|\.mat)?",
        f"give tfds:cifar10 if it is CIFAR-10; else {_ARRAYS}",
    ),
    (r"fine_label_names\.txt|coarse_label_names\.txt", "give tfds:cifar100"),
    (
        r"(train|test|extra)_32x32\.mat",
        f"give tfds:svhn_cropped if it is SVHN; else load it with scipy.io.loadmat and {_ARRAYS}",
    ),
    (r".*\.mat", f"load it with scipy.io.loadmat and {_ARRAYS}, or save its images as files"),
    (r"camelyonpatch.*\.h5", "give tfds:patch_camelyon"),
    (r".*\.(npz|npy)", f"load the arrays with numpy.load and {_ARRAYS}"),
    (r".*\.(h5|hdf5|pkl|pickle|pt|pth)", f"load the arrays and {_ARRAYS}, or save the images as"
     " files, into a folder per class"),
)  # fmt: skip
_CIFAR_100 = frozenset({"train", "test", "meta"})
_PARTS = (  # (part, names of its images and labels)
    ("train", (("x_train", "y_train"), ("train_images", "train_labels"))),
    ("val", (("x_val", "y_val"), ("val_images", "val_labels"))),
    ("test", (("x_test", "y_test"), ("test_images", "test_labels"))),
)


def array_file_hint(paths: Sequence[Path]) -> str | None:
    """Return how to train on files of arrays, None if none of the files is known.

    Args:
        paths: files that are not images. Of ``.npz`` files the names of the arrays are read.

    Examples:
        >>> array_file_hint([Path("train_32x32.mat")])[:22]
        'give tfds:svhn_cropped'
    """
    for path in paths:
        parts = _named_parts(path) if path.suffix.lower() == ".npz" else ""
        if parts:
            return f"in Python: a = numpy.load({str(path)!r}); tltool.finetune({{{parts}}})"
    names = {re.sub(r"\.gz$", "", path.name.lower()) for path in paths}
    if names >= _CIFAR_100:
        return "give tfds:cifar100 if it is CIFAR-100"
    found = (hint for pattern, hint in _BY_NAME if any(re.fullmatch(pattern, n) for n in names))
    return next(found, None)


def _named_parts(path: Path) -> str:
    """Return the parts of an ``.npz`` file as Python text, empty without names that are known."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = {name.removesuffix(".npy") for name in archive.namelist()}
    except (OSError, ValueError, zipfile.BadZipFile, NotImplementedError):
        return ""
    return ", ".join(
        f"'{part}': (a['{images}'], a['{labels}'])"
        for part, pairs in _PARTS
        for images, labels in pairs
        if {images, labels} <= names
    )
