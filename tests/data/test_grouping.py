"""--group by folder or expression; by a column: tests/workflows/test_split_data.py."""

from __future__ import annotations

import unicodedata
from pathlib import Path

import pytest

from tests.data.test_folder import touch
from tltool.data.sources.grouping import assign_groups
from tltool.data.sources.open import read_source
from tltool.errors import DataError


def groups(root: Path, by: str) -> list[str | None]:
    return [item.group for item in assign_groups(read_source(root), by).items]


@pytest.mark.parametrize("by", ["p[0-9]*(?=_)", "(p[0-9]*)?_", "(?<=p)[0-9]*(?=_)"])
def test_images_without_a_match_have_no_group(tmp_path: Path, by: str) -> None:
    touch(tmp_path, "cat/p1_a.jpg", "cat/p1_b.jpg", "dog/_c.jpg", "dog/p_d.jpg", "dog/e.jpg")
    found = groups(tmp_path, by)
    assert found[0] == found[1] != ""
    assert found[2] is None
    assert found[3] is None
    assert "" not in found


def test_an_expression_without_any_match_is_an_error(tmp_path: Path) -> None:
    touch(tmp_path, "cat/1.jpg", "dog/1.jpg")
    with pytest.raises(DataError, match="matches none"):
        groups(tmp_path, "x*")


def test_a_class_folder_is_not_a_group_in_any_unicode_form(tmp_path: Path) -> None:
    decomposed = unicodedata.normalize("NFD", "Bär")
    touch(tmp_path, f"{decomposed}/1.jpg", f"{decomposed}/trip/2.jpg", "Wolf/1.jpg")
    found = groups(tmp_path, "folder")
    assert found == [None, f"{decomposed}/trip", None] or found == [
        None,
        None,
        f"{decomposed}/trip",
    ]
