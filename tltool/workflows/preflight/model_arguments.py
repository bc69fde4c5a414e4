"""Checks of a model beside what it is to predict, evaluate or explain; no framework is imported."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path

from tltool.data.catalog import SplitName
from tltool.data.sources.no_images import no_images
from tltool.data.sources.open import check_source, is_source, read_images
from tltool.data.sources.remote.remote_source import check_remote
from tltool.data.sources.source_cache import cache_folder
from tltool.data.sources.wrong_source import check_image_names, missing_source
from tltool.data.splits.split import SplitRow, read_run_split
from tltool.errors import DataError, UsageError, did_you_mean, some_of
from tltool.evaluation.metrics.asserts import check_asserts
from tltool.export.model_folder import class_names_of, is_export, keras_export, version_folder
from tltool.recipe.load import load_recipe
from tltool.recipe.schema import DataSection
from tltool.recipe.source_text import is_remote
from tltool.runs.layout import MODEL_FILE, RunLayout, is_artifact
from tltool.runs.offline import is_offline
from tltool.workflows.preflight.arguments import check_classifier, check_model


def check_trained_model(path: Path, *, images: Sequence[Path | str] = ()) -> None:
    """Check that ``path`` is a run or an export that predicts.

    Args:
        path: the model.
        images: what it is to predict, to recognise arguments in the wrong order.

    Raises:
        UsageError: it does not exist.
        DataError: it is neither.
    """
    check_classifier(path)
    if not (is_artifact(path) or version_folder(path) is not None):
        raise _no_model(path, "of an export (saved_models/<name>)", images)


def check_explainable(
    path: Path, *, class_name: str | None = None, images: Sequence[Path | str] = ()
) -> None:
    """Check that ``path`` is a run or an export, and that it has the class to explain.

    Args:
        path: the folder of a run or an export, or the file of its Keras model.
        class_name: the class to explain; None for the predicted one.
        images: the images to explain, to recognise arguments in the wrong order.

    Raises:
        UsageError: ``path`` does not exist, or has no such class.
        DataError: it is neither.
    """
    check_model(path)
    folder = path.parent if path.name == MODEL_FILE else path
    if not (is_artifact(folder) or keras_export(folder) is not None or is_export(folder)):
        raise _no_model(path, "of a Keras export (saved_models/…-keras)", images)
    names = class_names_of(path)
    if class_name is not None and names is not None:
        check_class(class_name, names)


def check_class(name: str, names: Sequence[str]) -> None:
    """Check that a model has a class.

    Raises:
        UsageError: it has no class ``name``.
    """
    if name not in names:
        raise UsageError(
            f"the model has no class '{name}'.{did_you_mean(name, names)}",
            hint=f"its classes are {some_of(names, 20)}",
        )


def check_inputs(images: Sequence[Path | str]) -> None:
    """Check that there is anything to predict: not only missing files and folders without images.

    Raises:
        DataError: there is nothing, or an address or a pattern stands for the images.
    """
    check_image_names(images)
    for source in map(str, images):
        if is_remote(source):
            check_remote(source, offline=is_offline(), cache=cache_folder())
        if not Path(source).is_dir():
            if is_source(source) or Path(source).exists():
                return  # an archive or a table, which is opened later; or an image
            continue
        if read_images(source).items:
            return
    folders = [str(source) for source in images if Path(source).is_dir()]
    if folders:
        raise no_images(read_images(folders[0]), hint="give image files or folders with images")
    raise missing_source(str(images[0]))


def check_evaluation(
    model: Path, data: str, *, asserts: Sequence[str] = (), split: SplitName | None = None
) -> None:
    """Check model, images, classes and conditions of an evaluation; opens no image.

    Args:
        model: a run or an export.
        data: a source of labelled images.
        asserts: conditions such as ``recall[bees]>=0.85``.
        split: the split of the run to evaluate, if any.

    Raises:
        UsageError: there is no such model or split, or a condition names an unknown class.
        DataError: ``model`` is no model, or the images cannot be used or have unknown classes.
    """
    check_trained_model(model, images=[data])
    names = class_names_of(model)
    check_asserts(asserts, names)
    if split is not None:
        rows_of_split(RunLayout(model), split)
    listing = check_source(data, min_classes=1, known_classes=names or ())
    if listing is not None and names is not None and split is None:
        ood_images = run_data_settings(model).ood_images
        check_known_classes({item.label for item in listing.items} - {ood_images}, names)


def check_known_classes(present: Collection[str | None], class_names: Sequence[str]) -> None:
    """Check that a model knows all classes of the images to evaluate on.

    Args:
        present: the classes of the images.
        class_names: the classes of the model.

    Raises:
        DataError: it does not.
    """
    unknown = sorted(str(name) for name in set(present) - set(class_names))
    missing = [name for name in class_names if name not in present]
    if unknown:
        without = f"; there are no images of {some_of(missing)}" if missing else ""
        raise DataError(
            f"the model does not know the class{'es' if len(unknown) > 1 else ''} "
            f"{some_of(unknown)}; it knows {some_of(class_names, 20)}{without}",
            hint="rename the folders to the model's class names, or leave these images out",
        )


def rows_of_split(run: RunLayout, split: SplitName) -> list[SplitRow]:
    """Return the rows of one split of a run.

    Raises:
        UsageError: it is no run, or has no such split.
    """
    if not run.split.is_file():
        raise UsageError(
            f"--split needs a run folder; '{run.folder}' has no {run.split.name}",
            hint="omit --split, or give the folder of the run",
        )
    rows = [row for row in read_run_split(run) if row.split == split]
    if not rows:
        raise UsageError(
            f"the run '{run.folder}' has no {split} set",
            hint="omit --split, or train with --test FOLDER or --set data.test_fraction=0.2",
        )
    return rows


def run_data_settings(model: Path) -> DataSection:
    """Return the data settings of the run at ``model``; the defaults for an export."""
    recipe = RunLayout(model).recipe
    if is_artifact(model) and recipe.is_file():
        return load_recipe(str(recipe)).data
    return DataSection()


def _no_model(path: Path, or_of: str, images: Sequence[Path | str]) -> DataError:
    """Return the error about a path that holds no model; arguments may be in the wrong order."""
    hint = f"give the folder of a run (runs/…) or {or_of}"
    swapped = [Path(image) for image in images if Path(image).is_dir()]
    if any(is_artifact(one) or is_export(one) for one in swapped):
        hint = f"the model comes first: {swapped[0]} {path}"
    return DataError(f"'{path}' contains neither a finished run nor an exported model", hint=hint)
