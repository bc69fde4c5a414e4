"""report.html: its content, the sections it omits, and that no name can break it."""

from __future__ import annotations

import itertools
import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.evaluation.synthetic_report import full_report, labelled_predictions, report_on
from tltool.evaluation.calibration.temperature import Temperature
from tltool.evaluation.metrics.asserts import evaluate_asserts
from tltool.evaluation.metrics.confusion_matrix import ConfusionMatrix
from tltool.evaluation.metrics.ood_detection import ood_detection_metrics
from tltool.evaluation.report.advice import next_steps
from tltool.evaluation.report.evaluation_report import write_report
from tltool.evaluation.report.line_chart import Chart, Line, nice_ticks, render_chart

NAMES = ("apple", "kaki 柿", "plum")
HOSTILE = ("</script><img src=x onerror=alert(1)>", "{{ 7 * 7 }}", 'quo"te <b>')


class Page(HTMLParser):
    """Collects headings, elements and text of a page."""

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
    return page_of(folder / "report.html", full_report(folder / "photos", NAMES))


def test_the_sections_are_in_order(page):
    order = [
        "curves",
        "confusion",
        "classes",
        "errors",
        "labels",
        "data",
        "calibration",
        "slices",
    ]
    assert page.sections == [*order, "recipe", "card"]


def test_the_summary_comes_first_with_interval_baseline_and_next_steps(page):
    main = page.words[page.words.index("Model card") :]
    summary = main.index(
        "Top-1 accuracy 87.5 % on 24 validation images (95 % confidence interval 69.0 % to"
    )
    assert summary < main.index("33.3 % by always predicting apple") < main.index("Next: ")
    assert main.index("Next: ") < main.index("Confusion matrix")
    assert "Check the 6 labels that may be wrong" in main
    assert "Do not use this model yet: accuracy>=0.999 is not met" in main


def test_the_phases_of_the_run_are_described(page, tmp_path):
    both = "Dashed lines separate the phases; the first point is the linear probe."
    assert both in page.words
    report = full_report(tmp_path / "photos", NAMES)
    assert report.training is not None
    alone = [row for row in report.training.history if row["phase"] == "head"]
    later = [alone[0], {**alone[1], "phase": "finetune"}]
    for history, divided in ((alone, False), (later, True)):
        training = replace(report.training, history=history, best=1)
        words = page_of(tmp_path / "page.html", replace(report, training=training)).words
        assert "the first point is the linear probe" not in words
        assert ("Dashed lines separate the phases." in words) is divided
        assert "The ring marks the best epoch" in words


def test_the_page_is_self_contained(page):
    policy = next(m["content"] for m in page.all("meta") if "Content-Security" in str(m))
    assert policy.startswith("default-src 'none'")
    sources = [each.get("src") or each.get("href") or "" for _, each in page.elements]
    assert all(source.startswith(("data:", "#")) for source in sources if source)
    assert not re.search(r"https?://|@import|url\(", page.text)


def test_every_error_has_its_image_and_its_heat_map_if_there_is_one(page):
    images = [image for image in page.all("img") if "alt" in image]
    assert len(images) == len(page.all("img"))
    assert sum((image["alt"] or "").startswith("Grad-CAM for") for image in images) == 2
    assert len(images) == 3 + 2 + 6


def test_the_augmentation_is_described(page):
    assert "Data augmentation (policy light): flip horizontal." in page.words


def test_the_images_behind_each_number_are_in_the_page(page):
    data = json.loads(re.search(r'id="images">(.*?)</script>', page.text)[1])
    assert data["names"] == sorted(NAMES)
    assert len(data["images"]) == 24
    pairs = [(image["label"], image["predicted"]) for image in data["images"]]
    assert pairs.count((0, 1)) == 3
    cells = [cell for cell in page.all("button") if "data-true" in cell]
    assert sum(int(cell["data-count"] or 0) for cell in cells) == 24


def test_metrics_fitted_on_these_images_are_marked(tmp_path):
    predictions = labelled_predictions(tmp_path / "photos", NAMES)
    predictions = replace(predictions, ood_scores=np.linspace(0, 1.1, 24))
    report = report_on(predictions)
    fitted = {"value": 1.5, "log_loss_after_cross_fitted": 0.765, "ece_after_cross_fitted": 0.1234}
    chance = {"ece_raw": 0.11, "ece_by_chance": 0.12, "ece_expected_by_chance": 0.05}
    metrics = {**report.metrics, "calibration": fitted, **chance}
    words = page_of(tmp_path / "own.html", replace(report, metrics=metrics)).words
    assert "each image is scored with a temperature fitted on the other folds" in words
    assert "this model is above it" in words  # by the cross-fitted error
    assert "measured calibration error is 0.123" in words and "0.765" in words
    assert "0.073" in words  # what chance explains is subtracted
    assert "calibrated, cross-fitted" in words
    assert "The OOD threshold was set on these images" in words
    assert "determined the best epoch, the temperature and the OOD threshold" in words
    probe = {**metrics, "best": {"phase": "probe", "epoch": 0}}
    words = page_of(tmp_path / "probe.html", replace(report, metrics=probe)).words
    assert "determined the temperature and the OOD threshold." in words
    assert "best epoch" not in words
    other = replace(report, metrics={**metrics, "split": "test"})
    words = page_of(tmp_path / "test.html", other).words
    assert "this model is not above it" in words
    assert "on these images" not in words and "0.073" not in words
    assert "fewer than 10 images, so single points are noisy" in words


def test_skipped_temperature_scaling_is_reported(tmp_path):
    report = full_report(tmp_path / "photos", NAMES)
    skipped = Temperature(1.41, 0.567, 0.6638, 0.1, 0.1).to_json()
    for calibration, reported in (
        (skipped, True),
        ({**skipped, "skipped": False}, False),
        (None, False),
    ):
        metrics = {**report.metrics, "calibration": calibration}
        path = tmp_path / f"{len(list(tmp_path.iterdir()))}.html"
        words = page_of(path, replace(report, metrics=metrics)).words
        sentence = "Temperature scaling was skipped: T = 1.41 would increase"
        assert (sentence in words and "from 0.567 to 0.6638" in words) == reported


def test_out_of_distribution_images_are_listed_as_data(tmp_path):
    report = full_report(tmp_path / "photos", NAMES)
    sentence = "Out-of-distribution images, of none of the classes"
    assert sentence not in page_of(tmp_path / "a.html", report).words
    ood = ood_detection_metrics(
        np.linspace(0.1, 0.9, 20, dtype=np.float32), np.ones(30, np.float32)
    )
    selective = {**report.metrics["selective"], "ood": ood}
    with_ood = replace(report, metrics={**report.metrics, "selective": selective})
    assert f"{sentence}: 30." in page_of(tmp_path / "b.html", with_ood).words


def test_a_condition_missed_by_its_interval_alone_is_described(tmp_path):
    report = full_report(tmp_path / "photos", NAMES)
    asserts = evaluate_asserts(["accuracy>=0.8"], report.metrics, strict=True)
    strict = replace(report, metrics={**report.metrics, "asserts": asserts})
    words = page_of(tmp_path / "report.html", strict).words
    low = report.metrics["accuracy"]["low"]
    assert low < 0.8 < report.metrics["accuracy"]["value"]
    assert f"accuracy>=0.8 is not met with --strict (95 % interval {low:.3f} to" in words


def test_a_single_point_is_no_curve(tmp_path):
    report = full_report(tmp_path / "photos", NAMES)
    assert report.training is not None
    probe = replace(report.training, history=report.training.history[:1], best=0)
    found = page_of(tmp_path / "report.html", replace(report, training=probe))
    assert "curves" not in found.sections and "recipe" in found.sections


def test_a_section_without_content_is_omitted(tmp_path):
    perfect = labelled_predictions(tmp_path / "photos", NAMES[:2], wrong=0)
    page = page_of(tmp_path / "report.html", report_on(perfect))
    assert page.sections == ["confusion", "classes", "calibration", "slices", "card"]
    assert all(link["href"] in {f"#{name}" for name in page.sections} for link in page.all("a")[1:])


def test_other_runs_with_the_same_test_set_are_reported(tmp_path):
    predictions = labelled_predictions(tmp_path / "photos", NAMES[:2], wrong=0)
    summary, path = "this test set was used by 3 runs", tmp_path / "report.html"
    write_report(path, report_on(predictions, test_set=summary))
    assert f"When this report was written, {summary}." in path.read_text("utf-8")
    write_report(path, report_on(predictions))
    assert "When this report was written" not in path.read_text("utf-8")


def test_no_class_name_can_inject_html(tmp_path):
    predictions = labelled_predictions(
        tmp_path / "photos", [name.replace("/", "∕") for name in HOSTILE]
    )
    page = page_of(tmp_path / "report.html", report_on(predictions))
    assert not any("onerror" in each for _, each in page.elements)
    assert page.text.count("</script") == 2
    assert "{{ 7 * 7 }}" in page.words
    data = json.loads(re.search(r'id="images">(.*?)</script>', page.text)[1])
    assert data["names"] == list(predictions.images.class_names)


def test_many_classes_are_listed_as_pairs_and_many_images_stay_small(tmp_path):
    names = [f"class {number:02d}" for number in range(45)]
    predictions = labelled_predictions(tmp_path / "photos", names, n=10, wrong=30)
    page = page_of(tmp_path / "report.html", report_on(predictions))
    assert "The most frequent confusions" in page.words
    data = json.loads(re.search(r'id="images">(.*?)</script>', page.text)[1])
    assert len(data["images"]) == 320
    errors = [image for image in data["images"] if image["label"] != image["predicted"]]
    assert len(errors) == 30
    correct = {image["label"] for image in data["images"] if image["label"] == image["predicted"]}
    assert correct == set(range(3, 45))  # all images of three classes are misclassified
    assert len(page.text) < 2_000_000


def test_a_missing_image_leaves_a_blank(tmp_path):
    predictions = labelled_predictions(tmp_path / "photos", NAMES)
    predictions.images.items[0].path.unlink()
    assert page_of(tmp_path / "report.html", report_on(predictions)).words.count("no image") >= 1


def counted(rows: list[list[int]]) -> dict[str, Any]:
    """The metrics that depend on a confusion matrix, of the classes apple, kaki and plum."""
    names, matrix = sorted(NAMES), ConfusionMatrix.from_dense(rows)
    return {
        "per_class": [
            {"name": name, "support": int(support), "correct": int(hits)}
            for name, support, hits in zip(names, matrix.support, matrix.hits, strict=True)
        ],
        "confusions": [
            {"true": names[true], "predicted": names[predicted], "n": count}
            for true, predicted, count in matrix.confusions()
        ],
    }


LEAKAGE = {"train_overlap": {"train": 3, "validation": 0}, "split": "test"}
FINDINGS: list[tuple[dict[str, Any], str]] = [
    (LEAKAGE, "Data leakage: 3 of these images are in the training set"),
    ({"asserts": [{"assert": "ece<=0", "passed": False}]}, "ece<=0 is not met"),
    (
        counted([[3, 5, 0], [5, 3, 0], [6, 0, 2]]),
        "Do not use this model: always predicting apple is correct as often",
    ),
    (
        {
            "not_above_chance": ["kaki 柿"],
            "needs_more_images": [],
            **counted([[8, 0, 0], [8, 0, 0], [0, 0, 8]]),
        },
        "No image of kaki 柿 is recognised: check the labels",
    ),
    (
        {"not_above_chance": ["apple", "plum"], "needs_more_images": ["plum"]},
        "Collect more images of plum: with so few, recall of apple, plum is not",
    ),
    ({"ece": 0.2, "ece_raw": 0.25}, "Do not read confidences as probabilities"),
    (
        {
            "label_errors": {
                "issues": 91,
                "by_chance": {"mean": 60.2, "high": 71.0},
                "above_chance": True,
            }
        },
        "Check the 91 labels that may be wrong, listed below and in label_errors.csv: 60 are",
    ),
    (
        {
            "slices": [
                {"by": "shape", "value": "tall", "worse": True, "n": 9, "accuracy": {"value": 0.4}}
            ]
        },
        "Add training images with shape tall",
    ),
    (
        counted([[5, 3, 0], [0, 8, 0], [0, 0, 8]]),
        "3 images of apple predicted as kaki 柿",
    ),
    ({"accuracy": {"value": 0.9, "low": 0.78, "high": 0.96}}, "would narrow the confidence"),
    ({"split": "validation"}, "Hold out a test set"),
    ({}, "Test the model on images from its future use"),
]
"""Each finding alone, the most severe first."""


def unremarkable_metrics():
    return {
        "asserts": [],
        "not_above_chance": [],
        "needs_more_images": [],
        "slices": [],
        **counted([[8, 0, 0], [0, 8, 0], [0, 0, 8]]),
        "baselines": {"majority": {"class": "apple", "accuracy": {"value": 1 / 3}}},
        "accuracy": {"value": 0.97, "low": 0.95, "high": 0.99},
        "ece": 0.01,
        "ece_raw": 0.06,
        "ece_by_chance": 0.1,
        "split": "test",
        "n": 24,
    }


@pytest.mark.parametrize(("change", "advice"), FINDINGS)
def test_the_next_step_fits_the_metrics(change, advice):
    assert advice in next_steps({**unremarkable_metrics(), **change})[0]


def test_the_worst_finding_is_the_first_advice():
    for (change, advice), (milder, _) in itertools.combinations(FINDINGS, 2):
        if change.keys() & milder.keys() <= {"split"}:  # others cannot be shown at once
            steps = next_steps({**unremarkable_metrics(), **milder, **change})
            assert advice in steps[0], (change, milder)


def test_labels_are_not_advised_on_when_chance_explains_the_issues():
    found = {"issues": 91, "by_chance": {"mean": 85.0, "high": 102.0}, "above_chance": False}
    metrics = {**unremarkable_metrics(), "label_errors": found}
    assert not any("label_errors.csv" in step for step in next_steps(metrics, most=99))


def test_a_perfect_model_on_six_images_is_not_significantly_above_the_baseline():
    tiny = {
        **unremarkable_metrics(),
        **counted([[2, 0, 0], [0, 2, 0], [0, 0, 2]]),
        "n": 6,
    }
    advice = (
        "with 6 images, its accuracy is not significantly above that of always predicting apple"
    )
    assert advice in next_steps(tiny)[0]
    estimate = {
        "what": "linear probe on frozen features",
        "n": 60,
        "folds": 5,
        "accuracy": {"value": 0.9, "low": 0.8, "high": 0.95},
        "images_for_5_points": 139,
    }
    steps = next_steps({**tiny, "cross_validation": estimate}, most=99)
    assert not any("not significantly above" in step for step in steps)
    assert "Label more images: about 140 labelled images instead of 60" in steps[0]


def test_the_cross_validated_accuracy_comes_first_and_says_what_it_is_of(tmp_path):
    report = report_on(labelled_predictions(tmp_path / "photos", NAMES))
    assert "Cross-validated" not in page_of(tmp_path / "plain.html", report).words
    estimate = {
        "what": "linear probe on frozen features",
        "n": 120,
        "folds": 5,
        "accuracy": {"value": 0.8, "low": 0.72, "high": 0.862, "rough": False},
        "images_for_5_points": 245,
    }
    metrics = {**report.metrics, "cross_validation": estimate}
    words = page_of(tmp_path / "report.html", replace(report, metrics=metrics)).words
    first = words.index(
        "Cross-validated accuracy of a linear probe on frozen features: 80.0 % on all 120 labelled "
        "images (95 % confidence interval 72.0 % to 86.2 %)."
    )
    why = words.index("With only 24 validation images this is the more certain figure")
    needed = words.index("About 240 labelled images instead of 120 would narrow")
    assert first < why < needed < words.index("Top-1 accuracy 87.5 % on 24 validation images")
    assert "It is an estimate of the probe, not of the fine-tuned model below." in words


@pytest.mark.parametrize(
    ("low", "high", "ticks"),
    [
        (0.0, 1.0, [0, 0.25, 0.5, 0.75, 1]),
        (0.13, 0.52, [0.1, 0.2, 0.3, 0.4, 0.5, 0.6]),
    ],
)
def test_ticks_are_round_and_contain_the_values(low, high, ticks):
    assert nice_ticks(low, high) == pytest.approx(ticks)


@pytest.mark.parametrize(("value", "first", "last"), [(0.0, "0 %", "6 %"), (1.0, "94 %", "100 %")])
def test_the_axis_of_a_constant_share_is_of_shares(value, first, last):
    line = Line("", "s1", [(0, value, ""), (1, value, "")])
    chart = render_chart(Chart("rate", "", ("x", []), "y", [line], percent=True))
    ticks = re.findall(r'text-anchor="end">(.*?)<', chart)
    assert (ticks[0], ticks[-1]) == (first, last)


def test_groups_of_images_are_named_where_they_matter(tmp_path):
    predictions = labelled_predictions(tmp_path / "photos", NAMES)
    patients = [f"patient {number // 4}" for number in range(24)]
    for groups, described in ((patients, True), ([""] * 24, False), (None, False)):
        report = report_on(replace(predictions, groups=groups))
        words = page_of(tmp_path / f"{described}{groups is None}.html", report).words
        assert ("24 images of 6 groups, effective n" in words) == described
        assert ("images of one group, such as a patient" in words) == described
