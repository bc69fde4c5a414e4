"""`tltool promote`: an earlier version is served again, and nothing is changed."""

from __future__ import annotations

import shutil

import pytest

from tests.conftest import flip_bit
from tltool.errors import DataError, GateError, UsageError
from tltool.export.seal import check_seal
from tltool.workflows.promote import promote


@pytest.fixture
def versions(exported, tmp_path):
    """Two versions of a model."""
    for number in ("1", "2"):
        shutil.copytree(exported, tmp_path / "tiny" / number)
    return tmp_path / "tiny"


def test_an_earlier_version_becomes_the_newest(versions):
    folder = promote(versions / "1", versions)
    assert folder == versions / "3"
    assert check_seal(folder) == check_seal(versions / "1")
    assert sorted(path.name for path in versions.iterdir()) == ["1", "2", "3"]


def test_a_version_of_another_model_is_copied(versions, exported):
    assert promote(exported.parent, versions) == versions / "3"


def test_what_cannot_be_served_is_refused(versions, tmp_path):
    with pytest.raises(DataError, match="newest version already"):
        promote(versions / "2", versions)
    with pytest.raises(UsageError, match="no folder of a model"):
        promote(versions / "1", tmp_path / "nowhere")
    flip_bit(versions / "1" / "saved_model.pb", 100)
    with pytest.raises(GateError, match="damaged"):
        promote(versions / "1", versions)
    (versions / "1" / "assets" / "class_names.json").write_text('["a", "b", "c"]')
    with pytest.raises(DataError, match="other classes"):
        promote(versions / "1", versions)
    assert sorted(path.name for path in versions.iterdir()) == ["1", "2"]
