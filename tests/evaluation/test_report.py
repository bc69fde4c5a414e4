"""report.html: what it says, what it leaves out, and that no name can break it."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.evaluation.synthetic import evaluated, made_up, whole
from tltool.evaluation.calibration.temperature import Temperature
from tltool.evaluation.metrics.asserts import checked
from tltool.evaluation.metrics.selective import detection_metrics
from tltool.evaluation.report.advice import next_steps
from tltool.evaluation.report.charts import nice_ticks
from tltool.evaluation.report.page import write_report

NAMES = ("apple", "kaki 柿", "plum")
HOSTILE = ("</script><img src=x onerror=alert(1)>", "{{ 7 * 7 }}", 'quo"te <b>')


class Page(HTMLParser):
    """Collects headings, elements and words of a page."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.text = path.read_text("utf-8")
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.words = ""
        self.feed(self.text)

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.words += data

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]

    @property
    def sections(self) -> list[str | None]:
        return [attributes["id"] for attributes in self.all("h2")]


def page_of(path: Path, report: Any) -> Page:
    write_report(path, report)
    return Page(path)


@pytest.fixture(name="page", scope="module")
def _page(tmp_path_factory: pytest.TempPathFactory) -> Page:
    folder = tmp_path_factory.mktemp("report")
    return page_of(folder / "report.html", whole(folder / "photos", NAMES))


def test_the_sections_stand_in_the_order_in_which_one_asks(page):
    order = [
        "curves",
        "confusion",
        "classes",
        "mistakes",
        "labels",
        "data",
        "calibration",
        "slices",
    ]
    assert page.sections == [*order, "recipe", "card"]


def test_the_answer_is_told_first_with_interval_baseline_and_what_to_do(page):
    main = page.words[page.words.index("Model card") :]
    answer = main.index("87.5 % of 24 validation images are named right (95 % interval 69.0 % to")
    assert answer < main.index("always naming apple reaches 33.3 %") < main.index("Next: ")
    assert main.index("Next: ") < main.index("Confusion matrix")
    assert "Look through the 6 labels that look wrong" in main
    assert "accuracy>=0.999 is not met; do not use this model yet" in main


def test_phases_are_told_as_they_were(page, tmp_path):
    both = "Phases are divided by dashed lines; the first is the linear probe."
    assert both in page.words
    report = whole(tmp_path / "photos", NAMES)
    alone = [row for row in report.training.history if row["phase"] == "head"]
    later = [alone[0], {**alone[1], "phase": "finetune"}]
    for history, told in ((alone, False), (later, True)):
        training = replace(report.training, history=history, best=1)
        words = page_of(tmp_path / "page.html", replace(report, training=training)).words
        assert "linear probe" not in words
        assert ("Phases are divided by dashed lines." in words) is told
        assert "The ring marks what was kept" in words


def test_nothing_is_fetched_from_elsewhere(page):
    policy = next(m["content"] for m in page.all("meta") if "Content-Security" in str(m))
    assert policy.startswith("default-src 'none'")
    sources = [each.get("src") or each.get("href") or "" for _, each in page.elements]
    assert all(source.startswith(("data:", "#")) for source in sources if source)
    assert not re.search(r"https?://|@import|url\(", page.text)


def test_every_mistake_has_its_photo_and_the_heat_map_where_there_is_one(page):
    photos = [image for image in page.all("img") if "alt" in image]
    assert len(photos) == len(page.all("img"))
    assert sum((image["alt"] or "").startswith("What spoke for") for image in photos) == 2
    assert len(photos) == 3 + 2 + 6


def test_what_was_changed_in_training_photos_is_told(page):
    assert "Training images were changed at random (policy light): flip horizontal." in page.words


def test_the_photos_behind_each_number_are_in_the_page(page):
    data = json.loads(re.search(r'id="photos">(.*?)</script>', page.text)[1])
    assert data["names"] == sorted(NAMES)
    assert len(data["photos"]) == 24
    pairs = [(photo["label"], photo["predicted"]) for photo in data["photos"]]
    assert pairs.count((0, 1)) == 3
    cells = [cell for cell in page.all("button") if "data-true" in cell]
    assert sum(int(cell["data-count"] or 0) for cell in cells) == 24


def test_figures_that_were_set_on_these_photos_are_labelled(tmp_path):
    answers = evaluated(tmp_path / "photos", NAMES)
    answers = replace(answers, ood_scores=np.linspace(0, 1.1, 24))
    report = made_up(answers)
    fitted = {"value": 1.5, "log_loss_after_cross_fitted": 0.765, "ece_after_cross_fitted": 0.1234}
    metrics = {**report.metrics, "calibration": fitted, "ece": 0.11, "ece_by_chance": 0.12}
    words = page_of(tmp_path / "own.html", replace(report, metrics=metrics)).words
    assert "each of them at the temperature that the others give" in words
    assert "this one is above it" in words  # the cross-fitted one
    assert "0.123" in words and "0.765" in words and "after, cross-fitted" in words
    assert "The border was set on these images" in words
    assert "chose the best epoch, the temperature and the border of what is known" in words
    other = replace(report, metrics={**metrics, "part": "test"})
    words = page_of(tmp_path / "test.html", other).words
    assert "this one is not above it" in words
    assert "set on these images" not in words and "0.765" not in words
    assert "fewer than 10 images, and says little" in words


def test_a_temperature_that_was_refused_is_told(tmp_path):
    report = whole(tmp_path / "photos", NAMES)
    refused = Temperature(1.41, 0.567, 0.6638, 0.1, 0.1).to_json()
    for calibration, told in (
        (refused, True),
        ({**refused, "refused": False}, False),
        (None, False),
    ):
        metrics = {**report.metrics, "calibration": calibration}
        path = tmp_path / f"{len(list(tmp_path.iterdir()))}.html"
        words = page_of(path, replace(report, metrics=metrics)).words
        sentence = "Temperature scaling was skipped: T = 1.41 would increase"
        assert (sentence in words and "from 0.567 to 0.6638" in words) == told


def test_photos_of_something_else_are_named_as_data(tmp_path):
    report = whole(tmp_path / "photos", NAMES)
    sentence = "Images of something else, of no class"
    assert sentence not in page_of(tmp_path / "a.html", report).words
    figures = detection_metrics(
        np.linspace(0.1, 0.9, 20, dtype=np.float32), np.ones(30, np.float32)
    )
    refusal = {**report.metrics["refusal"], "other": figures}
    told = replace(report, metrics={**report.metrics, "refusal": refusal})
    assert f"{sentence}: 30." in page_of(tmp_path / "b.html", told).words


def test_a_condition_missed_by_its_interval_alone_is_told_so(tmp_path):
    report = whole(tmp_path / "photos", NAMES)
    asserts = checked(["accuracy>=0.8"], report.metrics, strict=True)
    told = replace(report, metrics={**report.metrics, "asserts": asserts})
    words = page_of(tmp_path / "report.html", told).words
    low = report.metrics["accuracy"]["low"]
    assert low < 0.8 < report.metrics["accuracy"]["value"]
    assert f"accuracy>=0.8 is not met strictly: the interval goes from {low:.3f} to" in words


def test_a_single_point_is_no_curve(tmp_path):
    report = whole(tmp_path / "photos", NAMES)
    probe = replace(report.training, history=report.training.history[:1], best=0)
    found = page_of(tmp_path / "report.html", replace(report, training=probe))
    assert "curves" not in found.sections and "recipe" in found.sections


def test_a_part_without_data_is_left_out(tmp_path):
    perfect = evaluated(tmp_path / "photos", NAMES[:2], wrong=0)
    page = page_of(tmp_path / "report.html", made_up(perfect))
    assert page.sections == ["confusion", "classes", "calibration", "slices", "card"]
    assert all(link["href"] in {f"#{name}" for name in page.sections} for link in page.all("a")[1:])


def test_no_name_can_become_a_part_of_the_page(tmp_path):
    answers = evaluated(tmp_path / "photos", [name.replace("/", "∕") for name in HOSTILE])
    page = page_of(tmp_path / "report.html", made_up(answers))
    assert not any("onerror" in each for _, each in page.elements)
    assert page.text.count("</script") == 2
    assert "{{ 7 * 7 }}" in page.words
    data = json.loads(re.search(r'id="photos">(.*?)</script>', page.text)[1])
    assert data["names"] == list(answers.photos.class_names)


def test_many_classes_are_listed_as_pairs_and_many_photos_stay_small(tmp_path):
    names = [f"class {number:02d}" for number in range(45)]
    answers = evaluated(tmp_path / "photos", names, n=10, wrong=30)
    page = page_of(tmp_path / "report.html", made_up(answers))
    assert "The most frequent mistakes" in page.words
    data = json.loads(re.search(r'id="photos">(.*?)</script>', page.text)[1])
    assert len(data["photos"]) == 320
    mistakes = [photo for photo in data["photos"] if photo["label"] != photo["predicted"]]
    assert len(mistakes) == 30
    right = {photo["label"] for photo in data["photos"] if photo["label"] == photo["predicted"]}
    assert right == set(range(3, 45))  # the images of three classes are all wrong
    assert len(page.text) < 2_000_000


def test_a_photo_that_is_gone_leaves_a_blank(tmp_path):
    answers = evaluated(tmp_path / "photos", NAMES)
    answers.photos.items[0].path.unlink()
    assert page_of(tmp_path / "report.html", made_up(answers)).words.count("no picture") >= 1


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"asserts": [{"assert": "ece<=0", "passed": False}]}, "ece<=0 is not met"),
        (
            {"not_above_chance": ["apple", "plum"], "rarest_of_these": ["plum"]},
            "Collect more images of plum: with so few, recall of apple, plum cannot",
        ),
        ({"confusion_matrix": [[5, 3, 0], [0, 8, 0], [0, 0, 8]]}, "3 images of apple named kaki"),
        ({"accuracy": {"value": 0.9, "low": 0.7, "high": 1.0}}, "about 220 instead of 24"),
        ({"ece": 0.2, "ece_by_chance": 0.1}, "Do not take confidences literally"),
        ({"ece": 0.2, "ece_by_chance": 0.21}, "Keep images apart"),
        ({}, "Keep images apart"),
        ({"part": "test"}, "Try it on images from where it will be used"),
    ],
)
def test_what_to_do_next_fits_what_was_found(tmp_path, change, told):
    quiet = {
        "asserts": [],
        "not_above_chance": [],
        "slices": [],
        "confusion_matrix": [[8, 0, 0], [0, 8, 0], [0, 0, 8]],
        "per_class": [{"name": name} for name in sorted(NAMES)],
        "accuracy": {"value": 0.97, "low": 0.95, "high": 0.99},
        "ece": 0.01,
        "ece_by_chance": 0.02,
        "part": "validation",
        "n": 24,
    }
    assert told in next_steps({**quiet, **change})[0]


@pytest.mark.parametrize(
    ("low", "high", "ticks"),
    [
        (0.0, 1.0, [0, 0.25, 0.5, 0.75, 1]),
        (0.13, 0.52, [0.1, 0.2, 0.3, 0.4, 0.5, 0.6]),
        (0.9, 0.9, [0.85, 0.875, 0.9, 0.925, 0.95]),
    ],
)
def test_ticks_are_round_and_hold_the_values(low, high, ticks):
    assert nice_ticks(low, high) == pytest.approx(ticks)
