"""The server of a review: decisions are durable, and only the page of its own may ask."""

from __future__ import annotations

import io
import json
import shutil

import numpy as np
import pytest
from PIL import Image

from tests.conftest import write_photos
from tests.review.conftest import LiveReview, review_of
from tltool.errors import DataError
from tltool.review.model_views import ModelViews
from tltool.review.session import ReviewSession


@pytest.fixture
def live(start) -> LiveReview:
    return start()


def queue(live: LiveReview, name: str = "label-issues") -> list:
    return json.loads(live.ask(f"api/queue/{name}")[2])["entries"]


def test_decisions_are_rows_of_the_file_and_the_images_stay(live):
    before = {path: path.read_bytes() for path in live.photos.rglob("*.jpg")}
    status, body = live.decide([0], "relabel", "dog")
    assert status == 200 and body["decisions"]["0"]["words"] == "dog"
    live.decide([1, 2], "exclude")
    live.decide([2], "undo")
    live.decide([3], "relabel", "cat")  # the label that it has
    actions = [(row.file[:7], row.action, row.new_label, row.who) for row in live.rows]
    assert actions == [
        ("cat/0_0", "relabel", "dog", "ann"),
        ("cat/0_0", "exclude", "", "ann"),
        ("cat/0_0", "exclude", "", "ann"),
        ("cat/0_0", "undo", "", "ann"),
        ("cat/0_0", "keep", "", "ann"),
    ]
    words = [(one["decision"] or {}).get("words") for one in queue(live)]
    assert words == ["dog", "left out", None, "kept", None]
    assert before == {path: path.read_bytes() for path in live.photos.rglob("*.jpg")}


def test_progress_counts_what_the_person_has_decided(live):
    live.decide([0, 1, 7], "keep")
    (issues, *classes) = json.loads(live.ask("api/review")[2])["queues"]
    assert (issues["count"], issues["decided"], issues["next"]) == (5, 2, 2)
    assert [(one["title"], one["decided"]) for one in classes] == [
        ("all of cat", 2),
        ("all of dog", 1),
    ]


def test_what_another_person_has_decided_is_shown_and_a_conflict_marked(start):
    ann, bob = start("ann"), start("bob")
    ann.decide([0], "relabel", "dog")
    bob.decide([0], "keep")
    decision = queue(ann)[0]["decision"]
    assert decision["others"] == ["bob: kept"] and decision["conflict"]
    assert decision["words"] == "dog"


def test_a_decision_is_shown_on_every_exact_copy(start, tmp_path):
    write_photos(tmp_path / "photos")
    one, *_ = sorted((tmp_path / "photos" / "cat").iterdir())
    shutil.copy(one, tmp_path / "photos" / "dog" / "copy.jpg")
    live = start()
    copy = len(list((tmp_path / "photos" / "cat").iterdir())) + 6
    _, body = live.decide([0], "keep")
    decisions = {number: one["words"] for number, one in body["decisions"].items()}
    assert decisions == {"0": "kept", str(copy): "cat"}
    _, body = live.decide([copy], "undo")
    assert body["decisions"] == {"0": None, str(copy): None}


def test_a_corrections_file_that_is_gone_is_one_sentence(live):
    live.file.unlink()
    status, body = live.decide([0], "keep")
    assert status >= 400 and "is gone" in body["error"]


def test_an_image_that_has_changed_since_gets_no_decision(live):
    path = sorted(live.photos.rglob("*.jpg"))[0]
    path.write_bytes(path.read_bytes() + b"x")
    status, body = live.decide([0], "exclude")
    assert status == 409 and "has changed since it was listed" in body["error"]
    assert live.rows == ()


def test_images_are_sent_as_jpeg_of_a_size_for_the_screen(live):
    status, headers, body = live.ask("image/0?size=small")
    assert status == 200 and Image.open(io.BytesIO(body)).format == "JPEG"
    assert headers["cache-control"].startswith("private")
    assert live.ask("image/99")[0] == 404


@pytest.mark.parametrize(
    ("path", "options", "status"),
    [
        ("", {"token": "wrong"}, 404),
        ("../secret-token/", {"token": ""}, 404),
        ("", {"Host": "evil.example"}, 421),
        ("", {"Sec_Fetch_Site": "cross-site", "Origin": "http://evil.example"}, 403),
        (
            "api/decide",
            {"body": {"action": "exclude", "images": [0]}, "Content_Type": "text/plain"},
            415,
        ),
        ("api/decide", {"body": {"action": "delete", "images": [0]}}, 400),
        ("api/decide", {"body": {"action": "keep", "images": [99]}}, 400),
        ("api/decide", {"body": {"action": "relabel", "images": [0], "label": "cow"}}, 409),
        ("api/queue/label-issues?start=-1", {}, 400),
        ("api/queue/nothing", {}, 404),
        ("heat-map/0", {}, 409),
    ],
)
def test_what_the_page_would_not_ask_is_refused(live, path, options, status):
    assert live.ask(path, options.pop("body", None), **options)[0] == status
    assert live.rows == ()


def test_every_response_has_a_strict_policy(live):
    for path in ("", "page.js", "api/review", "nowhere"):
        _, headers, _ = live.ask(path)
        assert headers["content-security-policy"].startswith(
            "default-src 'none'; script-src 'self'"
        )
        assert headers["referrer-policy"] == "no-referrer"


def test_the_script_builds_nothing_from_text(live):
    for name in ("page.js", "grid.js", "choose_class.js"):
        script = live.ask(name)[2].decode()
        assert not any(
            word in script for word in ("innerHTML", "outerHTML", "eval(", "document.write")
        )


def test_neighbours_are_the_nearest_of_each_class(start):
    data_labels = ["cat"] * 6 + ["dog"] * 6
    vectors = np.array([[1, number / 10] for number in range(12)], np.float32)
    views = ModelViews(embeddings=lambda: vectors, labels=data_labels)
    live = start(views=views)
    rows = json.loads(live.ask("api/neighbours/0?class=dog")[2])["neighbours"]
    assert [(row["class"], [one["id"] for one in row["images"]]) for row in rows] == [
        ("cat", [1, 2, 3, 4]),
        ("dog", [6, 7, 8, 9]),
    ]


def test_a_file_of_something_else_is_refused(tmp_path, make_photos):
    (tmp_path / "notes.csv").write_text("a,b\n1,2\n")
    with pytest.raises(DataError, match="is no corrections file"):
        ReviewSession(review_of(make_photos()), tmp_path / "notes.csv", "ann")
