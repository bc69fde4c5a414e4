"""Properties of the split: stratified on average, stable, and no content in two splits."""

from __future__ import annotations

import hashlib
import time
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tltool.data.catalog import Catalog, Item, SplitName
from tltool.data.duplicates.find_duplicates import Cluster
from tltool.data.splits.split import (
    Split,
    make_split,
    read_split,
    validate_on_fold,
    with_folds,
    write_split,
)
from tltool.errors import DataError

ROOT = Path("/photos")


def item(label: str, content: object, **fields: object) -> Item:
    sha256 = hashlib.sha256(repr(content).encode()).hexdigest()
    return Item(ROOT / label / f"{content}.jpg", label, sha256=sha256, **fields)


def catalog(items: list[Item]) -> Catalog:
    return Catalog(ROOT, tuple(items), tuple(sorted({item.label for item in items})))


def classes(sizes: list[int], first: int = 0) -> list[Item]:
    return [item(f"c{c}", (c, i + first)) for c, size in enumerate(sizes) for i in range(size)]


def split(items: list[Item], validation: float = 0.2, test: float = 0.2, seed: int = 0) -> Split:
    return make_split(catalog(items), validation_fraction=validation, test_fraction=test, seed=seed)


def per_class(items: list[Item], drawn: Split) -> Counter[tuple[str, str]]:
    return Counter((i.label, name) for i, name in zip(items, drawn.names, strict=True))


sizes = st.lists(st.integers(3, 40), min_size=2, max_size=5)
seeds = st.integers(0, 2**31)


@given(sizes=sizes, seed=seeds, test=st.sampled_from([0.0, 0.1, 0.3]))
def test_every_class_is_in_every_split(sizes: list[int], seed: int, test: float) -> None:
    items = classes(sizes)
    found = per_class(items, split(items, test=test, seed=seed))
    expected = ["train", "validation"] + ["test"] * (test > 0)
    assert all(found[f"c{c}", name] >= 1 for c in range(len(sizes)) for name in expected)
    assert sum(found.values()) == len(items)
    assert test > 0 or not any(name == "test" for _, name in found)


@given(seed=seeds)
@settings(max_examples=25)
def test_each_class_is_split_by_the_fractions(seed: int) -> None:
    items = classes([600, 300])
    found = per_class(items, split(items, seed=seed))
    for label, size in (("c0", 600), ("c1", 300)):
        # Five standard deviations of the binomial: 0.2 ± 0.08 of 600, ± 0.12 of 300.
        tolerance = 5 * (0.2 * 0.8 / size) ** 0.5
        assert abs(found[label, "validation"] / size - 0.2) < tolerance
        assert abs(found[label, "test"] / size - 0.2) < tolerance


@given(seed=seeds, more=st.integers(1, 60))
@settings(max_examples=25)
def test_adding_images_moves_no_other(seed: int, more: int) -> None:
    old = classes([60, 60])
    new = classes([more, more, 20], first=1000)
    before, after = split(old, seed=seed), split(new + old, seed=seed)
    assert after.names[len(new) :] == before.names


@given(data=st.data(), seed=seeds)
def test_no_content_and_no_group_is_in_two_splits(data: st.DataObject, seed: int) -> None:
    copies = data.draw(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 4)), max_size=30))
    shared = [
        item(f"c{content % 2}", ("x", content), group=f"g{group}") for content, group in copies
    ]
    items = classes([6, 6]) + shared
    drawn = split(items, seed=seed)
    for key in ("sha256", "group"):
        sides: dict[str, set[str]] = {}
        for entry, name in zip(items, drawn.names, strict=True):
            if getattr(entry, key) is not None:
                sides.setdefault(getattr(entry, key), set()).add(name)
        assert all(len(names) == 1 for names in sides.values())


@given(seed=seeds)
def test_the_order_of_the_items_does_not_matter(seed: int) -> None:
    items = classes([4, 5, 30])
    forward = dict(zip(items, split(items, seed=seed).names, strict=True))
    backward = dict(zip(items[::-1], split(items[::-1], seed=seed).names, strict=True))
    assert forward == backward


def test_another_seed_gives_another_split() -> None:
    items = classes([50, 50])
    assert split(items, seed=1).names == split(items, seed=1).names != split(items, seed=2).names


def items_of(name: SplitName | None, start: int, n: int = 8) -> list[Item]:
    return [item(c, (c, i), given_split=name) for c in "ab" for i in range(start, start + n)]


def test_splits_of_the_source_are_kept() -> None:
    items = items_of("train", 0) + items_of("validation", 100) + items_of("test", 200)
    assert split(items).names == tuple(i.given_split for i in items)
    assert set(split(items[:-16]).names) == {"train", "validation"}


@pytest.mark.parametrize("free", ["train", None])
def test_with_a_test_set_validation_is_drawn_from_the_rest(free: SplitName | None) -> None:
    items = items_of(free, 0, n=30) + items_of("test", 100)
    drawn = split(items)
    assert drawn.names[60:] == ("test",) * 16
    assert set(drawn.names[:60]) == {"train", "validation"}


def near(*members: int) -> Cluster:
    return Cluster(members, exact=False)


@given(data=st.data(), seed=seeds, count=st.integers(2, 5))
def test_no_cluster_is_in_two_splits_or_two_folds(
    data: st.DataObject, seed: int, count: int
) -> None:
    items = classes([40, 40])
    order = data.draw(st.permutations(range(80)))
    clusters = [near(*order[at : at + 3]) for at in range(0, 24, 3)]
    whole = catalog(items)
    drawn = make_split(
        whole, validation_fraction=0.2, test_fraction=0.2, seed=seed, clusters=clusters
    )
    folded = with_folds(whole, drawn, count, seed=seed, clusters=clusters)
    for cluster in clusters:
        for values in (folded.names, folded.folds, folded.groups):
            assert len({values[index] for index in cluster.members}) == 1
        assert folded.groups[cluster.members[0]] != ""


@given(seed=seeds, more=st.integers(1, 40))
@settings(max_examples=25)
def test_adding_images_without_duplicates_moves_no_cluster_and_no_fold(
    seed: int, more: int
) -> None:
    old = classes([60, 60])
    new = classes([more, more], first=1000)
    found = []
    for added in ([], new):
        whole, start = catalog(added + old), len(added)
        clusters = [near(start + 3, start + 70), near(start + 10, start + 11, start + 12)]
        if added:
            clusters.append(near(0, 1) if more > 1 else near(0, more))
        drawn = make_split(
            whole, validation_fraction=0.2, test_fraction=0.2, seed=seed, clusters=clusters
        )
        folded = with_folds(whole, drawn, 4, seed=seed, clusters=clusters)
        found.append((folded.names[start:], folded.folds[start:], folded.groups[start:]))
    # test images are in no fold, all others where they were
    assert found[0] == found[1]


def test_an_image_that_joins_two_clusters_puts_them_into_one_split() -> None:
    # the exception in docs/data.md: both must be in one split, so one of them moves
    items = classes([60, 60])
    names = split(items).names
    apart = next(i for i in range(60) if names[i] != names[0])
    joined = make_split(
        catalog(items),
        validation_fraction=0.2,
        test_fraction=0.2,
        seed=0,
        clusters=[near(0, apart)],
    )
    assert joined.names[0] == joined.names[apart]
    rest = [i for i in range(120) if i not in (0, apart)]
    assert [joined.names[i] for i in rest] == [names[i] for i in rest]


@given(seed=seeds, count=st.integers(2, 6))
@settings(max_examples=25)
def test_every_class_is_in_every_fold_and_test_images_in_none(seed: int, count: int) -> None:
    items = classes([60, 12])
    whole = catalog(items)
    drawn = with_folds(whole, split(items, test=0.1, seed=seed), count, seed=seed)
    present = {(i.label, fold) for i, fold in zip(items, drawn.folds, strict=True)}
    expected = {(label, fold) for label in ("c0", "c1") for fold in range(count)}
    assert present - {("c0", None), ("c1", None)} == expected
    assert [fold is None for fold in drawn.folds] == [name == "test" for name in drawn.names]


def test_one_fold_is_the_validation_set_and_all_others_train() -> None:
    items = classes([40, 40])
    whole = catalog(items)
    folded = with_folds(whole, split(items), 4, seed=0)
    on_fold = validate_on_fold(whole, folded, 2)
    for name, fold, before in zip(on_fold.names, folded.folds, folded.names, strict=True):
        expected = "test" if before == "test" else "validation" if fold == 2 else "train"
        assert name == expected
    with pytest.raises(DataError, match="no fold 4; the folds are 0 to 3"):
        validate_on_fold(whole, folded, 4)


def test_a_class_that_is_too_small_is_named_with_its_count() -> None:
    with pytest.raises(DataError, match=r"at least 3 different images.*test; 'c1' has 2$"):
        split(classes([5, 2]))
    copies = [item("c1", 1), item("c1", 1), item("c1", 2)]
    with pytest.raises(DataError, match=r"duplicates and groups count as one.*'c1' has 2"):
        split([*classes([5]), *copies])
    with pytest.raises(DataError, match=r"one each for 5 folds; 'c1' has 4$"):
        items = classes([9, 4])
        with_folds(catalog(items), split(items, test=0), 5, seed=0)


def test_the_time_for_thousands_of_classes_is_linear() -> None:
    items = classes([6] * 3000)
    started = time.process_time()
    drawn = split(items)
    assert time.process_time() - started < 5  # comparing all classes with all images took minutes
    found = per_class(items, drawn)
    assert all(found[f"c{c}", name] for c in range(3000) for name in set(drawn.names))


def test_split_csv_is_read_as_it_was_written(tmp_path: Path) -> None:
    items = [*classes([4, 4]), Item(Path("/else/x, y.jpg"), "c0", "test", sha256="ab")]
    items.append(item("c1", "é猫", given_split="train"))
    drawn = split(items)
    write_split(tmp_path / "split.csv", catalog(items), drawn)
    rows = read_split(tmp_path / "split.csv")
    assert [(ROOT / row.path, row.label, row.split, row.sha256) for row in rows] == [
        (i.path, i.label, name, i.sha256) for i, name in zip(items, drawn.names, strict=True)
    ]
    assert rows[0].path == Path("c0/(0, 0).jpg")


def test_a_file_that_is_not_a_split_csv_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text("a,b\n1,2\n")
    with pytest.raises(DataError, match=r"not a split\.csv"):
        read_split(tmp_path / "x.csv")
    with pytest.raises(DataError, match="cannot be read"):
        read_split(tmp_path / "nothing.csv")


def test_indices_select_the_items_of_a_split() -> None:
    items = classes([9, 9])
    drawn = split(items)
    chosen = catalog(items).select(drawn.indices("validation"))
    assert [i for i, name in zip(items, drawn.names, strict=True) if name == "validation"] == list(
        chosen.items
    )
    assert chosen.class_names == ("c0", "c1")


def test_the_digest_depends_on_contents_and_labels_only() -> None:
    items = classes([3, 3])
    same = catalog(
        [Item(Path(f"/moved/{n}"), i.label, sha256=i.sha256) for n, i in enumerate(items)]
    )
    assert catalog(items).digest() == catalog(items[::-1]).digest() == same.digest()
    assert catalog(items).digest() != catalog(items[1:]).digest()
    assert catalog(items).labels().tolist() == [0, 0, 0, 1, 1, 1]
    assert catalog(items).counts() == {"c0": 3, "c1": 3}
