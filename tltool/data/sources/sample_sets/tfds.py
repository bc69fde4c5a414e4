"""Lists a data set of TensorFlow Datasets, written to the cache as image files."""

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

from tltool.data.sources.listing import LAYOUT_HINT, Listing, class_name, listed, split_named
from tltool.data.sources.sample_sets.image_type import image_extension
from tltool.data.sources.sample_sets.tfds_download import download_dataset
from tltool.data.sources.source_cache import cached_copy, content_key
from tltool.data.sources.tables.cache_index import INDEX, index_listing
from tltool.errors import DataError, EnvironmentProblem, did_you_mean
from tltool.events import Observer
from tltool.recipe.source_text import TFDS

_FORMAT = 1  # of the cached copies; increment when their content changes
_SPELLING = re.compile(
    r"(?P<name>[A-Za-z]\w*)(:(?P<config>[\w.+-]+(/[\w.+-]+)*))?(@(?P<split>.+))?", re.ASCII
)
_INFO = "dataset_info.json"
_PROGRESS = 100


@dataclass(frozen=True)
class DatasetName:
    """The parsed ``tfds:NAME[:config][@split]``; without a split, all named splits are used."""

    name: str
    config: str | None
    split: str | None

    @property
    def full(self) -> str:
        """The name in TensorFlow Datasets: name/config."""
        return f"{self.name}/{self.config}" if self.config else self.name


def parse_name(source: str) -> DatasetName:
    """Parse ``tfds:NAME[:config][@split]``.

    Raises:
        DataError: it is not of this form.
    """
    match = _SPELLING.fullmatch(source.removeprefix(TFDS))
    if match is None:
        raise DataError(
            f"'{source}' is not a name of TensorFlow Datasets",
            hint="tfds:NAME, tfds:NAME:config or tfds:NAME@split, such as tfds:tf_flowers",
        )
    return DatasetName(match["name"], match["config"], match["split"])


def list_dataset(source: str, *, offline: bool, cache: Path, observer: Observer) -> Listing:
    """List the images of a data set by name; it is downloaded and prepared first if necessary.

    Args:
        source: ``tfds:NAME[:config][@split]``.
        offline: use only prepared data sets; open no network connection.
        cache: folder of the copies.
        observer: receives the progress.

    Raises:
        DataError: there is no such data set, config or split, or it has no labelled images.
        EnvironmentProblem: it cannot be downloaded, or ``offline`` forbids it.
    """
    name = parse_name(source)
    builder = _builder(name)
    if not _is_prepared(builder):
        _check_online(name, builder, offline=offline)
        # data_path ends in name/config/version
        root = Path(builder.data_path).parents[builder.info.full_name.count("/")]
        download_dataset(name.full, root, observer=observer)
        builder = _builder(name)
    return _listing(source, builder, name.split, cache, observer)


def list_prepared(source: str, folder: Path, *, cache: Path, observer: Observer) -> Listing | None:
    """List the images of a prepared data set in ``folder``; None if there is none.

    Args:
        source: as the user named it.
        folder: with ``dataset_info.json``, or with one folder below that has it.
        cache: folder of the copies.
        observer: receives the progress.

    Raises:
        DataError: there are several such folders, or it has no labelled images.
    """
    infos = [path for depth in ("", "*/", "*/*/") for path in sorted(folder.glob(depth + _INFO))]
    if not infos:
        return None
    if len(infos) > 1:
        inside = [str(path.parent.relative_to(folder)) for path in infos]
        raise DataError(
            f"{folder} contains several data sets: {listed(inside)}",
            hint="name one of these folders",
        )
    import tensorflow_datasets as tfds

    with _as_data_error(source):
        builder = tfds.builder_from_directory(infos[0].parent)
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
            hint="see https://www.tensorflow.org/datasets/catalog",
        ) from None
    except ValueError as error:
        _check_config(name)
        raise _data_error(f"{TFDS}{name.full}", error) from None


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
def _as_data_error(source: str) -> Iterator[None]:
    """Convert the errors of TensorFlow Datasets about a wrong config or split."""
    try:
        yield
    except ValueError as error:
        raise _data_error(source, error) from None


def _data_error(source: str, error: ValueError) -> DataError:
    return DataError(f"{source}: {' '.join(str(error).split())[:300]}")


def _is_prepared(builder: Any) -> bool:
    return (Path(builder.data_path) / _INFO).is_file()


def _check_online(name: DatasetName, builder: Any, *, offline: bool) -> None:
    if offline:
        raise EnvironmentProblem(
            f"the data set {name.full} is not prepared in {builder.data_path} and cannot be"
            " downloaded offline",
            hint=f"on a machine with a network: tfds build {name.full}\n"
            "then copy its folder to the same path here (or set TFDS_DATA_DIR to another folder)",
        )


def _listing(
    source: str, builder: Any, split: str | None, cache: Path, observer: Observer
) -> Listing:
    splits = [split] if split else _labelled_splits(source, builder, observer)
    info = Path(builder.data_path) / _INFO
    content = content_key(info) if info.is_file() else ""
    key = f"tfds {_FORMAT} {builder.info.full_name} {splits} {content}"

    def make(folder: Path) -> None:
        _write(source, builder, splits, folder, observer)

    folder = cached_copy(cache, f"tfds-{builder.info.name}", key, make)
    return index_listing(source, folder, labelled=True, are_names=True)


def _labelled_splits(source: str, builder: Any, observer: Observer) -> list[str]:
    """Return the train, validation and test splits; all splits if there are none or only one."""
    names = list(builder.info.splits)
    known = [name for name in names if split_named(name)]
    if len(names) == 1 or not known:
        return names
    unused = [name for name in names if name not in known]
    if unused:
        observer.on_message(f"unused splits of {source}: {', '.join(unused)}")
    return known


def _write(
    source: str, builder: Any, splits: Sequence[str], folder: Path, observer: Observer
) -> None:
    """Write one image file per example, and an index."""
    import tensorflow_datasets as tfds

    image, label = _features(source, builder)
    # one shard after another, for the same order of examples every time
    read_config = tfds.ReadConfig(interleave_cycle_length=1)
    decoders = {image: tfds.decode.SkipDecoding()} if _is_encoded(builder, image) else None
    with (folder / INDEX).open("w", encoding="utf-8", newline="") as to:
        index = csv.writer(to)
        index.writerow(["path", "label", "split"])
        for number, split in enumerate(splits):
            part = split if len(splits) > 1 else ""
            (folder / f"{number}").mkdir()
            with _as_data_error(source):
                examples = builder.as_dataset(
                    split=split, decoders=decoders, read_config=read_config
                )
            for count, example in enumerate(tfds.as_numpy(examples), start=1):
                data = _file(example[image])
                path = f"{number}/{count:06d}.{image_extension(data)}"
                (folder / path).write_bytes(data)
                described_as = f"the class of image {count} of the split '{split}' of {source}"
                feature = builder.info.features[label]
                name = _label(feature, example[label], described_as=described_as)
                if name is None:
                    with_labels = f"{source.partition('@')[0]}@train"
                    raise DataError(
                        f"{source}: image {count} of the split '{split}' has no label",
                        hint=f"use the splits with labels, such as {with_labels}",
                    )
                index.writerow([path, name, part])
                if count % _PROGRESS == 0:
                    observer.on_progress(count, max(count, len(examples)))


def _features(source: str, builder: Any) -> tuple[str, str]:
    """Return the names of the features with the image and its label."""
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
            f"{source} is not a data set of images with one label each; its features are"
            f" {listed(list(features))}",
            hint=f"export its images to folders: {LAYOUT_HINT}",
        )
    return images[0], labels[0]


def _is_encoded(builder: Any, image: str) -> bool:
    import tensorflow_datasets as tfds

    return isinstance(builder.info.features[image], tfds.features.Image)


def _file(value: Any) -> bytes:
    """Return the image of an example as a file: its encoded bytes, or its pixels as PNG."""
    if isinstance(value, bytes):
        return value
    to = io.BytesIO()
    pixels = np.asarray(value)
    Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels).save(to, "PNG")
    return to.getvalue()


def _label(feature: Any, value: Any, *, described_as: str) -> str | None:
    """Return the name of a label; None without a label, which test splits write as -1.

    Raises:
        DataError: it is not valid UTF-8.
    """
    if hasattr(feature, "int2str"):
        number = int(value)
        return str(feature.int2str(number)) if 0 <= number < feature.num_classes else None
    text = os.fsdecode(value) if isinstance(value, bytes) else str(value)
    return class_name(text, described_as=described_as)
