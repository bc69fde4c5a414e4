"""--json: stdout holds one document and nothing else."""

from __future__ import annotations

import json

import pytest

from tests.conftest import ONLY_PROBE


@pytest.mark.parametrize(
    "command",
    [
        ("backbones", "list"),
        ("recipes", "list"),
        ("recipes", "show", "quick"),
        ("recipes", "validate", "quick"),
        ("weights", "list"),
    ],
    ids=" ".join,
)
def test_listings_are_one_document(tltool, command):
    result = tltool(*command, "--json")
    assert result.exit_code == 0
    assert json.loads(result.stdout)


def test_finetune_prints_one_document(finetune_tiny, make_photos, tmp_path):
    result = finetune_tiny(make_photos(), "--json", settings=ONLY_PROBE)
    document = json.loads(result.stdout)
    assert document["run"] == str(tmp_path / "run")
    assert document["export"] is None
    text = json.loads((tmp_path / "run" / "metrics.json").read_text("utf-8"))
    assert document["metrics"] == text
    assert document["seconds"]["total"] > 0
    assert "probe" in result.stderr


def test_an_error_is_the_document_too(finetune_tiny, the_error, tmp_path):
    result = finetune_tiny(tmp_path / "nowhere", "--json")
    assert result.exit_code == 3
    assert json.loads(result.stdout)["error"]["exit_code"] == 3
    assert the_error(result)


def test_quiet_says_only_the_result(finetune_tiny, make_photos):
    result = finetune_tiny(make_photos(), "--quiet", settings=ONLY_PROBE)
    assert result.exit_code == 0
    assert "accuracy" in result.stdout
    assert result.stderr == ""


def test_a_wrong_recipe_among_right_ones_is_told_in_json(tltool, tmp_path):
    (tmp_path / "bad.yaml").write_text("seed: -1")
    result = tltool("recipes", "validate", "quick", tmp_path / "bad.yaml", "--json")
    assert result.exit_code == 2
    good, bad = json.loads(result.stdout)
    assert good["problem"] is None
    assert "seed" in bad["problem"]
