"""Recipes as people write them: copied from a web page, saved on Windows, with anchors."""

from __future__ import annotations

import codecs

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from tltool.errors import UsageError
from tltool.recipe.load import load_recipe
from tltool.recipe.yaml_text import one_line, read_yaml, write_yaml


@pytest.fixture
def write(tmp_path):
    def to_file(text: str | bytes) -> str:
        path = tmp_path / "my.yaml"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return str(path)

    return to_file


def problem(reference: str, *overrides: str) -> str:
    with pytest.raises(UsageError) as caught:
        load_recipe(reference, overrides)
    assert "\n" not in caught.value.message
    assert "tag:yaml.org" not in caught.value.message
    return caught.value.message


# merge keys -----------------------------------------------------------------------------------

FEW = "train:\n  head: &few {epochs: 3, learning_rate: 0.5}\n  finetune:\n    "


@pytest.mark.parametrize(
    ("text", "epochs", "rate"),
    [
        ("<<: *few\n    learning_rate: 0.1", 3, 0.1),
        ("learning_rate: 0.1\n    <<: *few", 3, 0.1),  # the place of the merge key does not matter
        ("<<: [*few]", 3, 0.5),
        ("<<: [{epochs: 4}, *few]", 4, 0.5),  # the first of a list wins
        ("{<<: *few, epochs: 9}", 9, 0.5),
        ("<<: &more\n      <<: *few\n      epochs: 6", 6, 0.5),
    ],
)
def test_merge_keys_are_merged_and_overridden(write, text, epochs, rate):
    phase = load_recipe(write(FEW + text)).train.finetune
    assert (phase.epochs, phase.learning_rate) == (epochs, rate)


def test_a_mapping_may_be_merged_before_it_is_read(write):
    text = "train:\n  head:\n    epochs: 2\n  finetune: &own {<<: {epochs: 4}, epochs: 5}\n"
    recipe = load_recipe(write(text + "  <<: {finetune: *own, batch_size: 8}\n"))
    assert (recipe.train.finetune.epochs, recipe.train.batch_size) == (5, 8)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("<<: *few\n    <<: *few", "duplicate key '<<'; merge several with <<: [*a, *b]"),
        ("<<: *few\n    epochs: 1\n    epochs: 2", "duplicate key 'epochs' (line 6"),
        ("<<: 5", "expected a mapping or list of mappings for merging"),
        ("<<: [5]", "expected a mapping for merging"),
        ("<<: *gone", "undefined alias 'gone'"),
        ("'<<': 5", "unknown key 'train.finetune.<<'"),
        ("unfreeze: <<", "stage"),
    ],
)
def test_a_wrong_merge_key_is_one_sentence(write, text, expected):
    if expected == "stage":  # `<<` is a text where it is no key
        assert load_recipe(write(FEW + text)).train.finetune.unfreeze == "<<"
    else:
        assert expected in problem(write(FEW + text))


def test_merges_of_merges_do_not_unfold():
    levels = ["a: &a {x: 1, y: 2}"]
    for old, new in zip("abcdefghijklmno", "bcdefghijklmnop", strict=True):
        levels.append(f"{new}: &{new} {{<<: [{', '.join([f'*{old}'] * 8)}], {new}: 1}}")
    tree = read_yaml("\n".join(levels), origin="a text")
    assert len(tree["p"]) == 17


# dotted keys ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        "train.head.epochs: 3",
        "train:\n  head.epochs: 3",
        "train: {batch_size: 8}\ntrain.head.epochs: 3",
        "train.head.epochs: 3\ntrain.head.learning_rate: 0.1",
        "train.head: {epochs: 3}",
    ],
)
def test_a_dotted_key_is_a_key_in_sections(write, text):
    assert load_recipe(write(text)).train.head.epochs == 3


def test_a_dotted_key_overrides_the_base_alone(write, tmp_path):
    (tmp_path / "base.yaml").write_text("train: {batch_size: 8, head: {epochs: 7}}")
    train = load_recipe(write("base: base.yaml\ntrain.head.epochs: 3")).train
    assert (train.batch_size, train.head.epochs) == (8, 3)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("train.head.epochs: 3\ntrain: {head: {epochs: 4}}", "train.head.epochs is set twice"),
        ("train.head.epochs: 3\ntrain: {head: {epochs: 3}}", "train.head.epochs is set twice"),
        ("train.cache: off\ntrain: {cache: {views: 2}}", "train.cache is set twice"),
        ("train.haed.epochs: 3", "unknown key 'train.haed'. Did you mean 'train.head'?"),
        ("train.head.: 3", "unknown key 'train.head.'"),
        (".: 3", "unknown key '.'"),
        ("train: &t {head: *t}", "contains itself"),
    ],
)
def test_a_wrong_dotted_key_is_one_sentence(write, text, expected):
    message = problem(write(text))
    assert expected in message
    assert "my.yaml" in message


def test_aliases_of_mappings_do_not_unfold(write):
    lines = ["a: &a {x: 1}"]
    for old, new in zip("abcdefghijklmno", "bcdefghijklmnop", strict=True):
        lines.append(f"{new}: &{new} {{{', '.join(f'k{n}: *{old}' for n in range(8))}}}")
    with pytest.raises(UsageError, match="unknown key"):
        load_recipe(write("\n".join(lines)))


# spaces ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("space", ["\u00a0", "\u2003", "\u200b", "\u3000", "\ufeff"])
@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("train:\n~~batch_size: 8", 2),
        ("train:\n batch_size: 8\n ~ema: 0.9", 3),
        ("train:\n batch_size: 8\n~ ema: 0.9", 3),
        ("seed:~3", 1),
        ("seed: 3~", 1),
        ("train:\n  ema:~0.9\n  batch_size: 8", 2),
        ("seed: 1\n~train:\n  ema: 0.9", 2),
        ("train:\n  probe:\n    c_values:\n    -~1", 4),
        ("model: {backbone:~vgg16}", 1),
    ],
)
def test_a_space_that_only_looks_plain_is_named_with_its_line(write, space, text, line):
    message = problem(write(text.replace("~", space)))
    assert "where a plain space belongs" in message
    assert f"(line {line}," in message


@pytest.mark.parametrize(
    "text",
    ["# seed:\u00a02\nseed: 3", "seed: 3 #\u00a0three", "seed: 3\ndata: {source: 'a\u00a0b'}"],
)
def test_an_odd_space_that_does_no_harm_is_read(write, text):
    assert load_recipe(write(text)).seed == 3


def test_a_tag_of_another_program_is_one_sentence(write):
    text = 'name: !!python/object/apply:os.system ["id"]\n'
    assert "tags such as !!python/object are not allowed (line 1" in problem(write(text))


@pytest.mark.parametrize(
    "text", ["train:\n\tema: 0.1", "train:\n  ema: 1\n\tseed: 2", '{\n\t"seed": 1}', "seed:\t3"]
)
def test_a_tab_is_one_sentence(write, text):
    assert "tabs are not allowed, use spaces (line" in problem(write(text))


# encodings and line ends ----------------------------------------------------------------------

TEXT = "# Straße, 東京\nname: mine\ntrain:\n  batch_size: 8\n"


@pytest.mark.parametrize("ends", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize(
    ("encoding", "mark"),
    [
        ("utf-8", b""),
        ("utf-8", codecs.BOM_UTF8),
        ("utf-16-le", codecs.BOM_UTF16_LE),
        ("utf-16-be", codecs.BOM_UTF16_BE),
        ("utf-16-le", b""),
        ("utf-16-be", b""),
        ("utf-32-le", codecs.BOM_UTF32_LE),
        ("utf-32-be", codecs.BOM_UTF32_BE),
        ("utf-32-le", b""),
        ("utf-32-be", b""),
    ],
)
def test_every_unicode_encoding_and_line_end_is_read(write, encoding, mark, ends):
    recipe = load_recipe(write(mark + TEXT.replace("\n", ends).encode(encoding)))
    assert (recipe.name, recipe.train.batch_size) == ("mine", 8)


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        ("seed: 1\n# Stra\xdfe".encode("cp1252"), "it is not UTF-8 text (byte 0xdf in line 2)"),
        (codecs.BOM_UTF16_LE + b"s\x00e", "it is not utf-16 text"),
    ],
)
def test_a_text_of_another_encoding_is_one_sentence(write, data, expected):
    assert f"my.yaml' cannot be read: {expected}" in problem(write(data))


# numbers --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-4", 1e-4),
        ("1E4", 1e4),
        ("-2.5e+3", -2.5e3),
        ("1.", 1.0),
        (".5", 0.5),
        ("-.5", -0.5),
        ("0042", 42),  # 34 in YAML 1.1
        ("08", 8),
        ("+7", 7),
        ("1_000", 1000),
        ("0x10", 16),
        ("0o17", 15),
        ("0b11", 3),
        ("1:30", "1:30"),  # 90 in YAML 1.1
        ("1:30.5", "1:30.5"),
        ("2026-01-31", "2026-01-31"),
        ("yes", "yes"),
        ("off", "off"),
        ("y", "y"),
        ("TRUE", True),
        ("null", None),
        ("~", None),
        ("=", "="),
        ("e5", "e5"),
        (".", "."),
        ("1e", "1e"),
        ("0x", "0x"),
    ],
)
def test_a_plain_word_has_the_type_that_yaml_1_2_gives_it(text, value):
    read = read_yaml(f"x: {text}", origin="a text")["x"]
    assert read == value
    assert type(read) is type(value)


@given(
    st.recursive(
        st.none()
        | st.booleans()
        | st.integers(-(10**9), 10**9)
        | st.text(max_size=12)
        | st.floats(allow_nan=False)
        | st.sampled_from(["1e5", "0042", "1:30", "on", "<<", "=", "\u00a0x", "0o7", "1_0", "08"]),
        lambda inner: (
            st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
        ),
        max_leaves=8,
    )
)
def test_what_is_written_is_read_again(document):
    try:
        yaml.safe_load(yaml.safe_dump(document, allow_unicode=True))
    except yaml.YAMLError:  # a character that no YAML text may contain
        return
    assert read_yaml(write_yaml(document), origin="a text") == document
    assert read_yaml(one_line(document), origin="a text") == document
