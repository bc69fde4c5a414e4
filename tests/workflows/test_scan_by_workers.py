"""The check of a data set by workers is that of one process."""

from __future__ import annotations

from contextlib import nullcontext

import pytest

from tests.data.samples import good_files, other_formats
from tests.engine.local_engine import LocalEngine
from tltool.engine import cluster_address
from tltool.errors import EnvironmentProblem
from tltool.workflows import check_data, scan_by_workers
from tltool.workflows.workers import TABLE


@pytest.fixture
def files(tmp_path, monkeypatch):
    """Return a folder of usable and unusable files, relative to the working folder."""
    good = good_files() | other_formats()
    bad = {f"cut {name}": data[: len(data) // 2] for name, data in [*good.items()][::3]}
    for number, (name, data) in enumerate({**good, **bad, "zero.jpg": b""}.items()):
        path = tmp_path / "files" / "ab"[number % 2] / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(cluster_address, "find_spec", lambda _: True)
    monkeypatch.setattr(scan_by_workers, "_FILES", 40)
    return "files"


def test_in_any_order_report_and_findings_are_byte_identical(files, tmp_path, monkeypatch):
    class Backwards(LocalEngine):
        def map(self, work, numbers):
            return super().map(work, reversed(numbers))

    options = {"ood_images": "b", "offline": True}
    one = check_data.check_data(files, out=tmp_path / "one", **options)
    engine = nullcontext(Backwards(TABLE))
    monkeypatch.setattr(check_data, "open_workers", lambda *_, **__: engine)
    many = check_data.check_data(files, out=tmp_path / "many", cluster="auto", **options)
    assert many.issues.read_bytes() == one.issues.read_bytes()
    assert many.report.read_bytes() == one.report.read_bytes()
    assert [*many.result.items] == [*one.result.items] and len(one.result.items) > 10
    assert "damaged" in one.issues.read_text()


def test_a_worker_that_does_not_see_a_file_is_an_error(files, tmp_path, monkeypatch):
    class Elsewhere(LocalEngine):
        def map(self, work, numbers):
            described = {number: work.input_of(number) for number in numbers}
            (tmp_path / files / "a" / "zero.jpg").unlink(missing_ok=True)
            (tmp_path / files / "b" / "zero.jpg").unlink(missing_ok=True)
            monkeypatch.setattr(type(work), "input_of", lambda _, number: described[number])
            return super().map(work, numbers)

    monkeypatch.setattr(check_data, "open_workers", lambda *_, **__: nullcontext(Elsewhere(TABLE)))
    with pytest.raises(EnvironmentProblem, match=r"zero\.jpg': none that can be read and 0 bytes"):
        check_data.check_data(files, out=tmp_path / "out", workers=2, offline=True)
    assert not (tmp_path / "out").exists()
