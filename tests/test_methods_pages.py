"""docs/methods/: its snippets are recipes, its pictures exist and are small."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tltool.recipe.augment_section import AugmentSection
from tltool.recipe.load import load_recipe

METHODS = Path(__file__).resolve().parent.parent / "docs" / "methods"
PAGE = "\n".join(path.read_text(encoding="utf-8") for path in sorted(METHODS.glob("*.md")))
SNIPPETS = re.findall(r"^```yaml\n(.*?)^```$", PAGE, flags=re.MULTILINE | re.DOTALL)
PICTURES = re.findall(r"!\[[^]]+\]\(([^)]+)\)", PAGE)


@pytest.mark.parametrize("snippet", SNIPPETS, ids=lambda text: " ".join(text.split()))
def test_a_snippet_is_a_recipe(snippet, tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text(snippet, encoding="utf-8")
    assert load_recipe(str(path)).name == "mine"


@pytest.mark.parametrize("picture", PICTURES)
def test_a_picture_exists_and_is_small(picture):
    assert 1_000 < (METHODS / picture).stat().st_size < 100_000


def test_every_picture_drawn_for_the_page_is_on_it():
    folder = METHODS.parent / "images" / "methods"
    drawn = {f"../images/methods/{path.name}" for path in folder.iterdir()}
    assert drawn == {picture for picture in PICTURES if "/methods/" in picture}


def test_every_change_of_the_schema_is_on_the_page():
    missing = [key for key in AugmentSection.model_fields if f"  {key}:" not in "".join(SNIPPETS)]
    assert not missing


@pytest.mark.parametrize("section", re.split(r"^(?=#{2,3} |\*\*)", PAGE, flags=re.MULTILINE)[1:])
def test_sections_that_teach_a_method_have_a_formula(section):
    assert "```yaml" not in section or "$" in section
