"""tltool backbones: the list, and the layers of one."""

from __future__ import annotations

import json
from pathlib import Path

import keras
import numpy as np
import pytest
from PIL import Image

from tests.conftest import unless_thorough


@pytest.fixture
def narrow(monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")


def test_the_list_names_sizes_and_weights(tltool):
    lines = tltool("backbones", "list").stdout.splitlines()
    row = next(line.split() for line in lines if line.startswith("lenet5"))
    assert row[:4] == ["lenet5", "2,572", "0.4", "M"]
    assert "none" in row
    assert "parameters: without the classifier" in lines[-1]


def test_the_list_fits_80_columns_and_separates_families(tltool, narrow):
    lines = tltool("backbones", "list").stdout.splitlines()
    table = lines[: lines.index(next(line for line in lines if line.startswith("parameters:")))]
    assert max(map(len, table)) <= 80
    position = next(n for n, line in enumerate(table) if line.startswith("mobilenet "))
    assert table[position - 1] == "" and table[position + 1].startswith("mobilenet_v2 ")


@pytest.mark.parametrize("command", ["backbones show", "weights pull", "weights import"])
def test_an_unknown_name_is_answered_with_the_nearest_and_not_with_all(tltool, tmp_path, command):
    file = [tmp_path / "w.h5"] if command == "weights import" else []
    result = tltool(*command.split(), "EfficientNetV2S", *file)
    assert result.exit_code == 2
    assert "Did you mean 'efficientnet_v2_s'?" in result.stderr
    assert "tltool backbones list" in result.stderr
    assert "vgg16" not in result.stderr and len(result.stderr) < 300


@pytest.mark.parametrize("name", ["lenet5", "resnet152", "resnet50v2", "mobilenet_v3_small"])
def test_the_table_fits_80_columns(tltool, narrow, name):
    result = tltool("backbones", "show", name)
    lines = result.stdout.splitlines()
    assert result.exit_code == 0
    assert max(map(len, lines)) <= 80
    table = lines[3 : lines.index("", 3)]
    assert all(line[0].isalpha() for line in table), "no row is broken in two"
    assert len(lines) < 32, "it fits on a screen"


def test_lenet5_is_shown_layer_by_layer(tltool):
    lines = [line.split() for line in tltool("backbones", "show", "lenet5").stdout.splitlines()]
    assert ["conv2_conv", "10x10x16", "5x5", "14", "2,416", "240,000"] in lines
    assert ["conv2_pool", "5x5x16", "2x2/2", "mean", "16"] in lines
    assert ["total", "61,706", "416,520"] in lines


def test_all_shows_every_layer(tltool):
    short = tltool("backbones", "show", "resnet18").stdout
    every = tltool("backbones", "show", "resnet18", "--all").stdout
    assert "layer4_1_bn2" in every and "layer4_1_bn2" not in short
    totals = [
        [
            line.split()
            for line in each.splitlines()
            if line.startswith(("backbone", "head ", "total"))
        ]
        for each in (short, every)
    ]
    assert totals[0] == totals[1] and len(totals[0]) == 3


def test_another_size_changes_the_maps_but_not_the_weights(tltool):
    own, larger = (
        json.loads(tltool("backbones", "show", "vgg16", "--json", *size).stdout)
        for size in ((), ("--image-size", 256))
    )
    assert larger["input"] == [256, 256, 3]
    assert larger["totals"]["backbone"]["parameters"] == 14_714_688
    assert own["totals"]["backbone"]["parameters"] == 14_714_688
    ends = [
        next(layer for layer in each["layers"] if layer["name"] == "block5_pool")
        for each in (own, larger)
    ]
    assert [end["output"] for end in ends] == [[7, 7, 512], [8, 8, 512]]
    assert [end["receptive_field"] for end in ends] == [212, 212]


@pytest.mark.parametrize("name", unless_thorough(["lenet5", "resnet50", "vgg16"], "lenet5"))
def test_the_diagram_shows_the_whole_network(tltool, tmp_path, name):
    file = tmp_path / "net.png"
    result = tltool("backbones", "show", name, "--output", file)
    assert result.stdout.splitlines()[-1] == f"wrote {file}"
    with Image.open(file) as picture:
        assert picture.width < 2600, "a screen shows it"
        pixels = np.asarray(picture.convert("RGB"))
    ink = np.flatnonzero((pixels < 250).any(axis=(0, 2)))
    assert ink[0] > 5 and ink[-1] < pixels.shape[1] - 5, "nothing is cut off"
    assert len(np.unique(pixels.reshape(-1, 3), axis=0)) > 20


@pytest.mark.parametrize(("name", "has_one"), [("resnet50v2", True), ("lenet5", False)])
def test_a_normalisation_of_its_own_has_its_own_colour(tltool, tmp_path, name, has_one):
    file = tmp_path / "net.png"
    assert tltool("backbones", "show", name, "--output", file).exit_code == 0
    with Image.open(file) as picture:
        colours = {colour for _, colour in picture.convert("RGB").getcolors(1 << 24)}
    assert ((0xB9, 0xA3, 0xD0) in colours) == has_one


def own_backbone(folder: Path) -> Path:
    """Write a model with an operation that is no layer."""
    images = keras.Input((32, 32, 3))
    maps = keras.layers.Conv2D(4, 3, strides=2, padding="same", name="stem")(images)
    maps = keras.layers.Conv2D(8, 3, strides=2, padding="same")(keras.ops.relu6(maps))
    keras.Model(images, maps).save(folder / "own.keras")
    return folder / "own.keras"


def test_a_model_of_your_own_is_shown_without_a_head(tltool, tmp_path):
    result = tltool("backbones", "show", own_backbone(tmp_path), "--preprocessing", "tf", "--all")
    assert result.exit_code == 0, result.stderr
    lines = [line.split() for line in result.stdout.splitlines()]
    assert lines[1] == ["image", "32x32;", "no", "head"]
    assert ["stem", "16x16x4", "3x3/2", "3", "112", "27,648"] in lines
    assert ["backbone", "408", "46,080"] in lines
    assert result.stdout.count("\nstages: stage1, stage2\n") == 1
    assert not any(line[:1] == ["head"] for line in lines)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("own.keras", (), "does not scale its input itself"),
        ("missing.keras", (), "there is no backbone"),
        ("vgg16", ("--preprocessing", "tf"), "vgg16 has the preprocessing caffe"),
    ],
)
def test_a_file_that_cannot_be_shown_is_one_sentence(tltool, tmp_path, name, options, message):
    own_backbone(tmp_path)
    reference = tmp_path / name if "." in name else name
    result = tltool("backbones", "show", reference, *options)
    assert result.exit_code == 2
    assert message in result.stderr.splitlines()[0]


def test_a_network_after_a_paper_says_so(tltool):
    shown = {
        name: tltool("backbones", "show", name).stdout.splitlines()[0]
        for name in ("lenet5", "digits_cnn")
    }
    assert "after LeCun et al. 1998" in shown["digits_cnn"]
    assert "after" not in shown["lenet5"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("lenet",), "no backbone 'lenet'. Did you mean 'lenet5'"),
        (("lenet5", "--image-size", 12), "lenet5 needs images of at least 16 px, not 12x12"),
        (("alexnet", "--image-size", 62), "alexnet needs images of at least 63 px"),
        (("vgg16", "--image-size", 0), "greater than or equal to 1"),
        (("lenet5", "--output", "net.jpeg"), "is not the name of a PNG file"),
        (("lenet5", "--output", "nowhere/net.png"), "its folder does not exist"),
    ],
)
def test_invalid_arguments_are_one_message(tltool, options, message):
    result = tltool("backbones", "show", *options)
    assert result.exit_code == 2
    assert message in result.stderr


def test_a_diagram_overwrites_nothing(tltool, tmp_path):
    (tmp_path / "net.png").write_text("years of work")
    result = tltool("backbones", "show", "lenet5", "--output", tmp_path / "net.png")
    assert result.exit_code == 2
    assert "exists" in result.stderr
    assert (tmp_path / "net.png").read_text() == "years of work"
