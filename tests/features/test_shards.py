"""Shards of features: one file each, whole or not there, and the same bits from any process."""

from __future__ import annotations

import itertools
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest

from tests.conftest import flip_bit, write_photos
from tests.engine.local_engine import LocalEngine
from tltool.augment.spec import AugmentSpec, AugMix, ColorJitter, RandAugment, WithProbability
from tltool.data.decoding.decode_spec import DecodeSpec
from tltool.data.sources.folders.folder import read_folder
from tltool.engine.work import Work, begin
from tltool.errors import EnvironmentProblem
from tltool.events import SilentObserver
from tltool.features.extract import Extractor, Features
from tltool.features.feature_store import FeatureStore
from tltool.features.image_source import ImageSource
from tltool.features.shards import ShardPlan, commit, pack, read_shard, unpack
from tltool.features.shared_pass import SharedPass, View
from tltool.models.backbone_registry import get_backbone
from tltool.models.build import build_model
from tltool.models.network_parts import Network
from tltool.workflows.dataset.feature_shards import compute_shards
from tltool.workflows.workers import TABLE

EVERYTHING = AugmentSpec(
    "horizontal",
    crop=(0.5, 1.5),
    cutout=0.4,
    mixup=0.4,
    cutmix=1.0,
    color_jitter=ColorJitter(0.2, 0.2, 0.2, 0.1, 0.5),
    noise=WithProbability(20, 0.5),
)
SETTINGS = {"gpu": False, "deterministic": True, "arithmetic": "float32", "rows_at_once": {}}


def columns(rows: int = 5) -> dict[str, np.ndarray]:
    numbers = np.random.default_rng(rows)
    return {
        "index": np.arange(rows),
        "pooled": numbers.normal(size=(rows, 7)).astype(np.float32),
        "activations": numbers.normal(size=(rows, 2, 2, 3)).astype(ml_dtypes.bfloat16),
    }


@pytest.mark.parametrize("count", [1, 31, 32, 33, 2048, 100_000])
@pytest.mark.parametrize("batch_size", [1, 32, 300])
def test_a_plan_covers_every_row_once_and_divides_no_batch(count, batch_size):
    plan = ShardPlan(count, batch_size)
    bounds = [plan.bounds(number) for number in range(plan.shards)]
    assert bounds[0][0] == 0 and bounds[-1][1] == count
    assert all(stop == start for (_, stop), (start, _) in itertools.pairwise(bounds))
    assert all(start < stop and start % batch_size == 0 for start, stop in bounds)


@pytest.mark.parametrize("rows", [0, 1, 5])
def test_a_shard_gives_back_its_columns_at_aligned_places(rows):
    data = pack(columns(rows))
    assert data == pack(columns(rows)) and len(data) % 64 == 0
    read = unpack(data)
    assert list(read) == list(columns(rows))
    for name, values in columns(rows).items():
        assert read[name].dtype == values.dtype
        np.testing.assert_array_equal(read[name].view(np.uint8), values.view(np.uint8))


@pytest.mark.parametrize("damage", ["cut", "flipped", "header", "foreign", "empty"])
def test_a_damaged_shard_counts_as_missing(tmp_path, damage):
    commit(tmp_path, "a.shard", columns())
    path = tmp_path / "a.shard"
    data = path.read_bytes()
    if damage == "flipped":
        flip_bit(path, len(data) - 64)
    else:
        other = {"cut": data[:-70], "header": data[:60] + b"]" + data[61:], "empty": b""}
        path.write_bytes(other.get(damage, b"PK\3\4 something else, long enough to be a header"))
    assert read_shard(path) is None
    assert not path.exists()


def test_of_two_processes_that_make_a_shard_the_first_one_wins(tmp_path):
    assert commit(tmp_path, "a.shard", columns(5))
    assert not commit(tmp_path, "a.shard", columns(6))
    read = read_shard(tmp_path / "a.shard")
    assert read is not None and len(read["index"]) == 5
    assert [path.name for path in tmp_path.iterdir()] == ["a.shard"]


def test_every_augmentation_comes_back_from_its_json():
    spec = AugmentSpec(
        "vertical",
        crop=(0.3, 1.1),
        color_jitter=ColorJitter(0.1, 0.2, 0.3, 0.4, 0.5),
        **{name: WithProbability(3, 0.5) for name in ("noise", "blur", "jpeg", "grid_mask")},
        grayscale=0.1,
        rand_augment=RandAugment(2, 9),
        aug_mix=AugMix(3, 2),
        mix_probability=0.3,
    )
    assert AugmentSpec.from_json(spec.to_json()) == spec
    assert AugmentSpec.from_json(AugmentSpec().to_json()) == AugmentSpec()


@pytest.fixture(scope="module")
def network() -> Network:
    backbone = get_backbone("tiny_vgg")
    model = build_model(
        backbone, image_size=(32, 32), classes=2, head="gap", dropout=0.5, hidden_units=8,
        norm="none", weights=None, seed=0,
    )  # fmt: skip
    return Network(model, backbone, "gap")


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> ImageSource:
    items = read_folder(write_photos(tmp_path_factory.mktemp("shards"), n=19)).items
    labels = np.array([item.label == "dog" for item in items], np.int64)
    weights = np.linspace(0.5, 1.5, len(items), dtype=np.float32)
    return ImageSource(items, labels, 2, DecodeSpec(32, 32), 4, weights)


def extracted(network, source, view, folder, elsewhere=None) -> Features:
    extractor = Extractor(network.images, network.pooled, network.cut("block3"))
    return extractor.run(
        lambda start: view.batches(source, start),
        folder,
        count=len(source),
        classes=source.classes,
        observer=SilentObserver(),
        elsewhere=elsewhere,
    )


def by_shards(network, source, view, folder, engine, **more) -> Features:
    extractor = Extractor(network.images, network.pooled, network.cut("block3"))
    shared = SharedPass(source, view, extractor.save(folder), {**SETTINGS, **more})

    def elsewhere(store: FeatureStore) -> None:
        compute_shards(engine, shared, folder / "shards", store, SilentObserver())

    return extracted(network, source, view, folder, elsewhere)


def assert_same_bits(one: Features, other: Features) -> None:
    np.testing.assert_array_equal(one.index, other.index)
    for name in ("labels", "pooled"):
        np.testing.assert_array_equal(
            getattr(one, name).view(np.uint32), getattr(other, name).view(np.uint32)
        )
    assert one.activations is not None and other.activations is not None
    rows = range(len(one.index))
    np.testing.assert_array_equal(
        one.activations.take(rows).view(np.uint16), other.activations.take(rows).view(np.uint16)
    )


class Backwards(LocalEngine):
    """Does the last piece first, and each of them twice."""

    def map(self, work, numbers):
        backwards = sorted(numbers, reverse=True)
        again = begin(TABLE, work)
        for number, record in super().map(work, backwards):
            assert record["made"] and not again(number, None)["made"]
            yield number, record


@pytest.mark.parametrize(
    "view",
    [
        pytest.param(View(), id="original"),
        pytest.param(View(EVERYTHING, 7, 3), marks=pytest.mark.thorough, id="augmented"),
    ],
)
def test_features_by_shards_in_any_order_are_those_of_one_pass(tmp_path, network, source, view):
    whole = extracted(network, source, view, tmp_path / "whole")
    shards = by_shards(network, source, view, tmp_path / "shards", Backwards(TABLE))
    assert_same_bits(whole, shards)
    left = [path.name for path in (tmp_path / "shards" / "shards").iterdir()]
    assert sorted(left) == ["images.npz", "pass.json"]


class Dying(LocalEngine):
    """Is gone after three pieces, of which one was never written and one is damaged."""

    def map(self, work, numbers):
        folder = Path(work.arguments["folder"])
        for number, record in super().map(work, [0, 2, 3]):
            if number == 2:
                flip_bit(folder / ShardPlan(38, 4).name(2), 900)
            yield number, record
        raise KeyboardInterrupt


def test_what_was_committed_before_a_kill_is_not_computed_again(tmp_path, network, source):
    view = View(EVERYTHING, 7, 3)
    with pytest.raises(KeyboardInterrupt):
        by_shards(network, source, view, tmp_path, Dying(TABLE))
    done: list[int] = []

    class Counting(LocalEngine):
        def map(self, work, numbers):
            done.extend(numbers)
            return super().map(work, numbers)

    resumed = by_shards(network, source, view, tmp_path, Counting(TABLE))
    assert done == [1, 4, 5, 6, 7, 8, 9, 2]  # 0 was appended, 3 was ready, 2 was damaged
    assert_same_bits(extracted(network, source, view, tmp_path / "whole"), resumed)


def test_shards_that_never_arrive_are_an_error_that_names_the_first(tmp_path, network, source):
    class Lost(LocalEngine):
        def map(self, work, numbers):
            return ((number, {}) for number in numbers)

    with pytest.raises(EnvironmentProblem, match=r"000000-of-000010\.shard"):
        by_shards(network, source, View(), tmp_path, Lost(TABLE))


def test_a_worker_says_what_it_cannot_read(tmp_path):
    with pytest.raises(EnvironmentProblem, match=r"a worker cannot read .*pass\.json") as problem:
        begin(TABLE, Work("features", {"folder": str(tmp_path / "gone")}))
    assert "shared disk" in str(problem.value.hint)
