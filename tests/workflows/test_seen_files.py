"""A machine of a cluster that sees other files than that of the command is named."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pytest

from tests.conftest import PhotoMaker
from tests.engine.local_engine import LocalEngine
from tltool.data.catalog import Item
from tltool.data.decoding.decode_spec import DecodeSpec
from tltool.engine import cluster_address
from tltool.errors import EnvironmentProblem
from tltool.features.image_source import ImageSource
from tltool.features.shared_pass import SharedPass, View, read_pass
from tltool.workflows import compare_backbones
from tltool.workflows.prediction.prediction import absolute_name
from tltool.workflows.seen_files import as_seen, check_present, check_seen
from tltool.workflows.workers import TABLE


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


def test_backbones_that_no_worker_can_evaluate_keep_the_hint_of_the_worker(
    make_photos: PhotoMaker, monkeypatch, tmp_path
):
    class Elsewhere(LocalEngine):
        def map(self, work, numbers):
            raise EnvironmentProblem("a worker cannot read 'a.jpg'", hint="share the disk")

    monkeypatch.setenv("TLTOOL_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setattr(cluster_address, "find_spec", lambda _: True)
    engine = nullcontext(Elsewhere(TABLE))
    monkeypatch.setattr(compare_backbones, "open_workers", lambda *_, **__: engine)
    with pytest.raises(EnvironmentProblem) as problem:
        compare_backbones.compare_backbones(
            str(make_photos()), ["tiny_vgg", "tiny_resnet"],
            image_size=32, weights="random", cluster="auto",
        )  # fmt: skip
    assert problem.value.message.endswith("can be evaluated: a worker cannot read 'a.jpg'")
    assert problem.value.hint == "share the disk"
