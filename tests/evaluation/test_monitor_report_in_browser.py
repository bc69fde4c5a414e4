"""The report of `tltool monitor` in headless Chromium: accessible, and not wider than a phone."""

from __future__ import annotations

import pytest

from tests.browser import SIZES
from tests.conftest import picture
from tests.evaluation.test_drift import CLASSES, reference, sample
from tltool.evaluation.drift.accuracy_estimate import estimate_accuracy
from tltool.evaluation.drift.drift_tests import class_changes, confidence_shares, find_drift
from tltool.evaluation.drift.monitor_result import MonitorResult, OodRates, UnusualImage
from tltool.evaluation.report.monitor_report import write_monitor_report

pytestmark = pytest.mark.browser
NAMES = ("ants", "a class with quite a long name", "kaki 柿", "plum")


@pytest.fixture(name="address", scope="module")
def _address(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Drift, one image with a thumbnail, and one whose file is gone."""
    folder = tmp_path_factory.mktemp("monitor")
    before, now = reference(0), sample(1, new_class=0.3)
    picture(0, (90, 60)).save(folder / "0.jpg")
    unusual = [UnusualImage(f"{'a/folder/' * 9}{n}.jpg", NAMES[n], 0.4, 1.5) for n in range(2)]
    result = MonitorResult(
        "digits",
        find_drift(before, now, classes=CLASSES, permutations=99),
        class_changes(before, now, NAMES),
        confidence_shares(before, now),
        OodRates(0.05, 0.3),
        estimate_accuracy(before, now.confidence),
        {"value": 0.7, "low": 0.6, "high": 0.8, "n": 80},
        unusual,
        failed=1,
        copies=2,
    )
    write_monitor_report(folder / "m.html", result, {unusual[0].name: folder / "0.jpg"})
    return (folder / "m.html").as_uri()


@pytest.mark.parametrize("size", ["desktop", "phone"])
def test_axe_finds_nothing_serious_and_nothing_is_too_wide(opened, serious_violations, size):
    page = opened(size, bypass_csp=True)
    assert serious_violations(page) == []
    assert page.evaluate("document.documentElement.scrollWidth") == SIZES[size]["width"]
