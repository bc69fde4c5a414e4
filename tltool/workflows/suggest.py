"""Suggest which unlabelled images to label next."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from tltool.data.audit.inspect_file import image_decoder, inspect_file
from tltool.data.catalog import Item
from tltool.data.decoding.image_errors import BadFileError
from tltool.data.decoding.transcode import read_image_bytes
from tltool.data.duplicates.find_duplicates import cluster_duplicates
from tltool.data.splits.split import read_run_split
from tltool.errors import DataError
from tltool.evaluation.label_suggestions import Pool, Strategy, suggest_images
from tltool.events import Observer, SilentObserver
from tltool.recipe.schema import DataSection
from tltool.runs.layout import RunLayout
from tltool.training.own_settings import with_own_settings
from tltool.workflows.prediction.inputs import InputImage, list_inputs
from tltool.workflows.prediction.model import LoadedModel, load_model
from tltool.workflows.review_queues.run_views import run_embeddings
from tltool.workflows.review_queues.suggestion_file import Suggestion, write_suggestions


@with_own_settings
def suggest(
    images: Path | str | Sequence[Path | str],
    *,
    run: Path | str,
    budget: int = 50,
    strategy: Strategy = "mixed",
    ood_share: float = 0.1,
    seed: int = 0,
    output: Path | str | None = None,
    offline: bool = False,
    observer: Observer | None = None,
) -> list[Suggestion]:
    """Return the images whose labels would probably help the model of a run most.

    Unreadable files, images that the run has used, and all but one of near copies are left out.

    Args:
        images: files, folders and other sources; labels are ignored.
        run: a finished run.
        budget: how many images to suggest at most.
        strategy: see ``suggest_images``.
        ood_share: largest share of out-of-distribution images, 0 to 1.
        seed: of the strategy random.
        output: a CSV file to write: path, predicted, confidence, reason, sha256; it must not exist.
        offline: open no network connection.
        observer: receives the progress.

    Raises:
        UsageError: ``run`` is no run, or ``output`` exists.
        DataError: there are no images, or the run has used all of them.
        EnvironmentProblem: the weights of the backbone are not available.

    Examples:
        >>> chosen = tltool.suggest("unlabelled", run="runs/photos", budget=2)
        >>> [one.path.name for one in chosen]
        ['7_01.png', '7_00.png']
    """
    run = Path(run)
    images = [images] if isinstance(images, (str, Path)) else images
    observer = observer or SilentObserver()
    rows = read_run_split(RunLayout(run))
    inputs = list_inputs(images, pixels=None, offline=offline, observer=observer)
    observer.on_phase("files", f"{len(inputs):,} images")
    shown, items = _unused(inputs, {row.sha256 for row in rows}, observer)
    observer.on_phase("model", str(run))
    model = load_model(run)
    observer.on_phase("predict", f"{len(items):,} images")
    probabilities, is_known = _predict(model, items, observer)
    embeddings = run_embeddings(RunLayout(run), items)
    pool = Pool(probabilities, embeddings, is_known, model.class_names)
    chosen = suggest_images(pool, budget, strategy=strategy, ood_share=ood_share, seed=seed)
    suggestions = [
        Suggestion(
            shown[one.row],
            model.class_names[int(probabilities[one.row].argmax())],
            float(probabilities[one.row].max()),
            one.reason,
            items[one.row].sha256,
        )
        for one in chosen
    ]
    if output is not None:
        write_suggestions(Path(output), suggestions)
    return suggestions


def _unused(
    inputs: Sequence[InputImage], used: set[str], observer: Observer
) -> tuple[list[Path | str], list[Item]]:
    """Return the readable images that the run has not used, one of each cluster of near copies.

    Raises:
        DataError: there are none.
    """
    decode, most = image_decoder(), DataSection().max_pixels
    shown, items, unreadable, known = [], [], 0, 0
    for done, one in enumerate(inputs, start=1):
        try:
            item = inspect_file(Item(one.path, ""), max_pixels=most, decode=decode).item
        except BadFileError:
            unreadable += 1
        else:
            known += item.sha256 in used
            if item.sha256 not in used:
                shown.append(one.shown)
                items.append(item)
        observer.on_progress(done, len(inputs))
    copies = {row for one in cluster_duplicates(items).clusters for row in sorted(one.members)[1:]}
    kept = [row for row in range(len(items)) if row not in copies]
    observer.on_message(
        f"{len(kept):,} images to choose from; left out: {known:,} that the run has used, "
        f"{len(copies):,} copies, {unreadable:,} unreadable"
    )
    if not kept:
        raise DataError(
            "there is no image to choose from: the run has used all that can be read",
            hint="give images that the run has not seen",
        )
    return [shown[row] for row in kept], [items[row] for row in kept]


def _predict(
    model: LoadedModel, items: Sequence[Item], observer: Observer
) -> tuple[np.ndarray, np.ndarray]:
    """Return the probabilities, float32 [N, C], and whether each image is in-distribution."""
    probabilities, known = [], []
    for start in range(0, len(items), model.batch_size):
        batch = items[start : start + model.batch_size]
        predictions = model.predict(
            [read_image_bytes(one.path, sha256=one.sha256) for one in batch]
        )
        probabilities.append(predictions.probabilities)
        everything = np.ones(len(batch), np.bool_)
        known.append(everything if predictions.is_known is None else predictions.is_known)
        observer.on_progress(start + len(batch), len(items))
    return np.concatenate(probabilities), np.concatenate(known)
