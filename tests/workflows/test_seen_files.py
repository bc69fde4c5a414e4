"""A machine of a cluster that sees other files than that of the command is named."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tltool.data.catalog import Item
from tltool.data.decoding.decode_spec import DecodeSpec
from tltool.errors import EnvironmentProblem
from tltool.features.image_source import ImageSource
from tltool.features.shared_pass import SharedPass, View, read_pass
from tltool.workflows.prediction.prediction import absolute_name
from tltool.workflows.seen_files import as_seen, check_present, check_seen


def test_a_file_that_is_missing_or_different_elsewhere_is_an_error_that_names_it(tmp_path):
    image = tmp_path / "a.jpg"
    files = as_seen([str(image)])
    assert files == [(str(image), None)]
    check_seen(files)
    image.write_bytes(b"123")
    with pytest.raises(EnvironmentProblem, match=r"a\.jpg': 3 bytes and none that can be read"):
        check_seen(files)
    files = as_seen([str(image)])
    check_seen(files)
    image.write_bytes(b"1234")
    with pytest.raises(EnvironmentProblem, match=r"a\.jpg': 4 bytes and 3 bytes") as problem:
        check_seen(files)
    assert "TLTOOL_DATA_DIR" in str(problem.value.hint)
    check_present(image)
    with pytest.raises(EnvironmentProblem, match=r"does not see '.*gone'") as problem:
        check_present(tmp_path / "gone")
    assert "same disk" in str(problem.value.hint)


def test_a_path_through_a_link_names_the_file_that_it_opens(tmp_path):
    (tmp_path / "elsewhere" / "folder").mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere" / "folder")
    (tmp_path / "a.jpg").write_bytes(b"1")
    (tmp_path / "elsewhere" / "a.jpg").write_bytes(b"123")
    path = f"{tmp_path}/link/../a.jpg"
    assert as_seen([path]) == [(path, 3)]
    assert absolute_name(path) == path
    source = ImageSource([Item(Path(path), "a")], np.zeros(1, np.int64), 1, DecodeSpec(8, 8), 1)
    SharedPass(source, View(), tmp_path / "network.keras", {}).write(tmp_path / "pass")
    (item,) = read_pass(tmp_path / "pass").source.items
    assert item.path.read_bytes() == b"123"
