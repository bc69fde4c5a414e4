"""Data sets of TensorFlow Datasets, written once as image files into the cache."""

from __future__ import annotations

import csv
import io
import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from tltool.data.sources.cache_index import INDEX, index_listing
from tltool.data.sources.folder import LAYOUT_HINT
from tltool.data.sources.listing import Listing, class_name, listed, split_named
from tltool.data.sources.source_cache import content_key, kept
from tltool.data.sources.tfds_download import fetch_dataset
from tltool.errors import DataError, EnvironmentProblem, did_you_mean
from tltool.events import Observer
from tltool.recipe.source_text import TFDS

_FORMAT = 1  # of the copies; another way to write them adds one
_SPELLING = re.compile(
    r"(?P<name>[A-Za-z]\w*)(:(?P<config>[\w.+-]+(/[\w.+-]+)*))?(@(?P<split>.+))?", re.ASCII
)
_SIGNATURES = {b"\x89PNG": "png", b"\xff\xd8\xff": "jpg", b"GIF8": "gif", b"BM": "bmp"}
_INFO = "dataset_info.json"
_PROGRESS = 100


@dataclass(frozen=True)
class DatasetName:
    """``tfds:NAME[:config][@split]`` in its parts; without a split all that train and test."""

    name: str
    config: str | None
    split: str | None

    @property
    def full(self) -> str:
        """What TensorFlow Datasets calls it: name/config."""
        return f"{self.name}/{self.config}" if self.config else self.name


def parse_name(source: str) -> DatasetName:
    """Return what a spelling with ``tfds:`` names.

    Raises:
        DataError: it is none.
    """
    match = _SPELLING.fullmatch(source.removeprefix(TFDS))
    if match is None:
        raise DataError(
            f"'{source}' names no data set of TensorFlow Datasets",
            hint="tfds:NAME, tfds:NAME:config or tfds:NAME@split, such as tfds:tf_flowers",
        )
    return DatasetName(match["name"], match["config"], match["split"])


def list_dataset(source: str, *, offline: bool, cache: Path, observer: Observer) -> Listing:
    """List the images of a data set by name; it is fetched and prepared first where it is not.

    Args:
        source: ``tfds:NAME[:config][@split]``.
        offline: use only what is prepared; open no connection.
        cache: folder of the copies.
        observer: hears the progress.

    Raises:
        DataError: there is no such data set, config or split, or it has no labelled images.
        EnvironmentProblem: it cannot be fetched, or may not be.
    """
    name = parse_name(source)
    builder = _builder(name)
    if not _is_prepared(builder):
        _check_may_fetch(name, builder, offline=offline)
        # data_path ends in name/config/version
        root = Path(builder.data_path).parents[builder.info.full_name.count("/")]
        fetch_dataset(name.full, root, observer=observer)
        builder = _builder(name)
    return _listing(source, builder, name.split, cache, observer)


def list_prepared(source: str, folder: Path, *, cache: Path, observer: Observer) -> Listing | None:
    """List the images of a prepared data set in ``folder``; None when the folder holds none.

    Args:
        source: as the user spelled it.
        folder: with ``dataset_info.json``, or above the one folder that has it.
        cache: folder of the copies.
        observer: hears the progress.

    Raises:
        DataError: there are several such folders, or it has no labelled images.
    """
    found = [path for depth in ("", "*/", "*/*/") for path in sorted(folder.glob(depth + _INFO))]
    if not found:
        return None
    if len(found) > 1:
        inside = [str(path.parent.relative_to(folder)) for path in found]
        raise DataError(
            f"{folder} holds several data sets: {listed(inside)}", hint="name one of these folders"
        )
    import tensorflow_datasets as tfds

    with _explained(source):
        builder = tfds.builder_from_directory(found[0].parent)
    return _listing(source, builder, None, cache, observer)


def _builder(name: DatasetName) -> Any:
    import tensorflow_datasets as tfds

    try:
        return tfds.builder(name.full)
    except tfds.core.DatasetNotFoundError:
        known = tfds.list_builders(with_community_datasets=False)
        near = did_you_mean(name.name, known, prefix=TFDS)
        raise DataError(
            f"TensorFlow Datasets has no data set '{name.name}'.{near}",
            hint="https://www.tensorflow.org/datasets/catalog lists them",
        ) from None
    except ValueError as error:
        _check_config(name)
        raise _refused(f"{TFDS}{name.full}", error) from None


def _check_config(name: DatasetName) -> None:
    import tensorflow_datasets as tfds

    known = list(tfds.builder_cls(name.name).builder_configs)
    config = (name.config or "").partition("/")[0]
    if config not in known:
        raise DataError(
            f"the data set {name.name} has no config '{config}'.{did_you_mean(config, known)}",
            hint=f"it has {listed(known)}",
        )


@contextmanager
def _explained(told: str) -> Iterator[None]:
    """Turn what TensorFlow Datasets says about a wrong config or split into one sentence."""
    try:
        yield
    except ValueError as error:
        raise _refused(told, error) from None


def _refused(told: str, error: ValueError) -> DataError:
    return DataError(f"{told}: {' '.join(str(error).split())[:300]}")


def _is_prepared(builder: Any) -> bool:
    return (Path(builder.data_path) / _INFO).is_file()


def _check_may_fetch(name: DatasetName, builder: Any, *, offline: bool) -> None:
    if offline:
        raise EnvironmentProblem(
            f"the data set {name.full} is not prepared in {builder.data_path}, and offline work"
            " was asked for",
            hint=f"on a machine with a network: tfds build {name.full}\n"
            "then copy its folder to the same place here (TFDS_DATA_DIR names another)",
        )


def _listing(
    source: str, builder: Any, split: str | None, cache: Path, observer: Observer
) -> Listing:
    wanted = [split] if split else _labelled_splits(source, builder, observer)
    info = Path(builder.data_path) / _INFO
    content = content_key(info) if info.is_file() else ""
    key = f"tfds {_FORMAT} {builder.info.full_name} {wanted} {content}"

    def make(folder: Path) -> None:
        _write(source, builder, wanted, folder, observer)

    folder = kept(cache, f"tfds-{builder.info.name}", key, make)
    return index_listing(source, folder, labelled=True)


def _labelled_splits(source: str, builder: Any, observer: Observer) -> list[str]:
    """Return the splits whose names say what they are for, or the only one there is."""
    names = list(builder.info.splits)
    known = [name for name in names if split_named(name)]
    if len(names) == 1 or not known:
        return names
    others = [name for name in names if name not in known]
    if others:
        observer.on_message(f"splits of {source} that are not used: {', '.join(others)}")
    return known


def _write(
    source: str, builder: Any, splits: Sequence[str], folder: Path, observer: Observer
) -> None:
    """Write one image file per example, and an index."""
    import tensorflow_datasets as tfds

    image, label = _features(source, builder)
    # one shard after another: the same examples in the same order every time
    how = tfds.ReadConfig(interleave_cycle_length=1)
    decoders = {image: tfds.decode.SkipDecoding()} if _is_encoded(builder, image) else None
    with (folder / INDEX).open("w", encoding="utf-8", newline="") as to:
        index = csv.writer(to)
        index.writerow(["path", "label", "split"])
        for number, split in enumerate(splits):
            part = split if len(splits) > 1 else ""
            (folder / f"{number}").mkdir()
            with _explained(source):
                examples = builder.as_dataset(split=split, decoders=decoders, read_config=how)
            for count, example in enumerate(tfds.as_numpy(examples), start=1):
                data = _file(example[image])
                path = f"{number}/{count:06d}.{_extension(data)}"
                (folder / path).write_bytes(data)
                told = f"the class of image {count} of the split '{split}' of {source}"
                name = _label(builder.info.features[label], example[label], told=told)
                if name is None:
                    with_labels = f"{source.partition('@')[0]}@train"
                    raise DataError(
                        f"{source}: image {count} of the split '{split}' has no label",
                        hint=f"take the splits that have labels, such as {with_labels}",
                    )
                index.writerow([path, name, part])
                if count % _PROGRESS == 0:
                    observer.on_progress(count, max(count, len(examples)))


def _features(source: str, builder: Any) -> tuple[str, str]:
    """Return the names of the image and of its label."""
    import tensorflow_datasets as tfds

    features = builder.info.features
    supervised = builder.info.supervised_keys
    if supervised and len(supervised) == 2 and all(isinstance(key, str) for key in supervised):
        image, label = supervised
        if len(features[image].shape or ()) == 3 and features[label].shape == ():
            return image, label
    images = [k for k, feature in features.items() if isinstance(feature, tfds.features.Image)]
    labels = [k for k, feature in features.items() if isinstance(feature, tfds.features.ClassLabel)]
    if len(images) != 1 or len(labels) != 1:
        raise DataError(
            f"{source} is no data set of images with one label each: it has"
            f" {listed(list(features))}",
            hint=f"write its images into folders: {LAYOUT_HINT}",
        )
    return images[0], labels[0]


def _is_encoded(builder: Any, image: str) -> bool:
    import tensorflow_datasets as tfds

    return isinstance(builder.info.features[image], tfds.features.Image)


def _file(value: Any) -> bytes:
    """Return an example's image as a file: the bytes it was stored as, or its pixels as PNG."""
    if isinstance(value, bytes):
        return value
    to = io.BytesIO()
    pixels = np.asarray(value)
    Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels).save(to, "PNG")
    return to.getvalue()


def _extension(data: bytes) -> str:
    found = [kind for start, kind in _SIGNATURES.items() if data.startswith(start)]
    return found[0] if found else "img"


def _label(feature: Any, value: Any, *, told: str) -> str | None:
    """Return the name of a label; None where there is none, which test splits write as -1.

    Raises:
        DataError: it is no UTF-8; ``told`` says whose class it is.
    """
    if hasattr(feature, "int2str"):
        number = int(value)
        return str(feature.int2str(number)) if 0 <= number < feature.num_classes else None
    return class_name(os.fsdecode(value) if isinstance(value, bytes) else str(value), told=told)
