"""A machine of a cluster that sees other files than that of the command is named."""

from __future__ import annotations

import pytest

from tltool.errors import EnvironmentProblem
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
    with pytest.raises(EnvironmentProblem, match=r"a\.jpg': 4 bytes and 3 bytes"):
        check_seen(files)
    check_present(image)
    with pytest.raises(EnvironmentProblem, match=r"does not see '.*gone'") as problem:
        check_present(tmp_path / "gone")
    assert "same disk" in str(problem.value.hint)
