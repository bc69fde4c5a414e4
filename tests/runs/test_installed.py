"""The list of installed packages."""

from __future__ import annotations

import importlib.metadata

from tltool.runs.environment import installed


def test_names_and_versions_are_those_of_importlib_metadata():
    expected = {
        f"{one.metadata['Name'].lower()}=={one.version}"
        for one in importlib.metadata.distributions()
        if one.metadata["Name"]
    }
    assert installed() == tuple(sorted(expected))
    assert len(expected) > 10
