"""Items and findings in little memory are those that were put in."""

from __future__ import annotations

import pickle
import tracemalloc
from collections.abc import Callable, Sized
from dataclasses import replace
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from tltool.data.catalog import SPLIT_NAMES, Catalog, Item, digest_of_labels
from tltool.data.checks.findings import Finding
from tltool.data.duplicates.exact_copies import exact_copies
from tltool.data.item_columns import ItemColumns

NAMES = st.text(st.characters(exclude_characters="/\0"), min_size=1, max_size=20)  # and surrogates
ITEMS = st.builds(
    Item,
    path=st.builds(Path, NAMES, NAMES),
    label=NAMES,
    given_split=st.none() | st.sampled_from(SPLIT_NAMES),
    group=st.none() | NAMES,
    weight=st.floats(0, 10),
    fold=st.none() | st.integers(0, 9),
    sha256=st.just("") | st.binary(min_size=32, max_size=32).map(bytes.hex),
    width=st.integers(0, 10**6),
    columns=st.lists(st.tuples(NAMES, NAMES), max_size=2).map(tuple),
    perceptual_hash=st.none() | st.integers(0, 2**255 - 1),
)


@given(st.lists(ITEMS, max_size=4), st.lists(ITEMS, max_size=2))
def test_items_in_columns_come_back(items: list[Item], others: list[Item]) -> None:
    packed = ItemColumns(items)
    assert list(packed) == [packed[number] for number in range(len(packed))] == items
    assert list(packed.joined(ItemColumns(others))) == items + others
    assert list(packed.select(range(0, len(items), 2))) == list(packed[::2]) == items[::2]
    for number, item in enumerate(items):
        packed.set_facts(number, replace(item, width=item.width + 1))
        assert packed[number].width == item.width + 1
    assert [replace(item, width=0) for item in packed] == [replace(i, width=0) for i in items]


@given(st.lists(ITEMS, max_size=12), st.lists(st.integers(0, 3), max_size=12))
def test_columns_answer_as_the_items_do(items: list[Item], copies: list[int]) -> None:
    items = [
        replace(i, sha256=items[n % len(items)].sha256) for i, n in zip(items, copies, strict=False)
    ]
    names = tuple(sorted({item.label for item in items}))
    catalog = Catalog(Path("/photos"), items, names)
    assert catalog.digest() == digest_of_labels((i.sha256, i.label) for i in items)
    assert catalog.labels().tolist() == [names.index(item.label) for item in items]
    assert catalog.counts() == {name: sum(i.label == name for i in items) for name in names}
    assert catalog.columns.classes() == list(names)
    assert catalog.columns.labels() == [item.label for item in items]
    assert catalog.columns.given_splits() == {item.given_split for item in items} - {None}
    by_content: dict[str, list[int]] = {}
    for index, item in enumerate(items):
        by_content.setdefault(item.sha256, []).append(index)
    expected = [each for key, each in by_content.items() if key and len(each) > 1]
    assert [each.tolist() for each in exact_copies(catalog.columns)] == expected


@given(ITEMS)
def test_an_item_with_its_path_as_text_is_a_normal_dataclass(item: Item) -> None:
    assert pickle.loads(pickle.dumps(item)) == item
    assert hash(replace(item)) == hash(item)
    assert repr(item).startswith(f"Item(path={item.path!r}, label=")
    assert replace(item, path=item.path / "x") != item


def path_of(number: int) -> Path:
    return Path(f"/data/photos/some-class/folder-{number // 1000}/{number:08d}.jpg")


def tiny(path: Path) -> Finding:
    return Finding(path, "tiny", "32 x 32 pixels", "find a larger copy", "warning")


def items_of(count: int) -> list[Item]:
    return [
        Item(path_of(number), "cat", sha256=f"{number:064x}", perceptual_hash=2**254 + number)
        for number in range(count)
    ]


def bytes_each(make: Callable[[], Sized]) -> float:
    tracemalloc.start()
    try:
        kept = make()
        return tracemalloc.get_traced_memory()[0] / len(kept)
    finally:
        tracemalloc.stop()


def test_ten_thousand_take_little_memory() -> None:
    items = items_of(10_000)
    assert bytes_each(lambda: ItemColumns(items)) < 200
    paths = [path_of(number) for number in range(10_000)]
    assert bytes_each(lambda: [tiny(path) for path in paths]) < 220
