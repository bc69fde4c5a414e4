"""The server counts what it has answered, finds drift, and compares two models."""

from __future__ import annotations

import csv
import json
import os
import shutil
import socket
import time
from contextlib import ExitStack
from dataclasses import replace
from http.client import HTTPResponse
from pathlib import Path

import pytest

from tests.export.tiny_classifier import NAMES, encoded, export, tiny_model
from tests.serving.conftest import SETTINGS
from tests.serving.half_plus import half_plus
from tests.serving.live_server import b64, serving, versions_of
from tltool.errors import DataError, UsageError
from tltool.evaluation.drift.drift_tests import ALPHA
from tltool.export.model_folder import model_digest
from tltool.serving.kept_sample import KeptSample
from tltool.serving.model_source import ModelSource
from tltool.serving.prediction_log import PredictionLog
from tltool.serving.settings import Settings
from tltool.workflows.find_served_model import find_second_source
from tltool.workflows.serve import Address, Observed, serve


def send(live, count, seed=0):
    body = {"instances": [{"image_bytes": b64(encoded(seed + n))} for n in range(count)]}
    answer = live.predict(body)
    assert answer.status == 200, answer.body
    return answer


def test_classes_confidences_and_drift_are_in_the_metrics_and_in_the_statistics(live):
    answer = send(live, 60)
    assert answer.headers["model-version"] == "tiny/1"
    (served,) = live.get("/v1/statistics").json["served"]
    assert served["items"] >= 60
    assert sum(one["items"] for one in served["classes"]) == served["items"]
    # the exported model has no OOD detector
    assert served["unknown"] is None and "out-of-distribution" not in served["summary"]
    # the reference says that each class is as frequent, and noise is always the same class
    assert served["drift"]["found"]
    assert served["drift"]["p_value"] <= ALPHA
    assert "Drift found in classes" in served["summary"]
    text = live.get("/metrics").body.decode()
    assert 'tltool_drift_size{model="tiny",version="1"}' in text
    assert 'tltool_confidence_bucket{le="0.5",model="tiny",version="1"}' in text
    assert any(f'class="{NAMES[n]}"' in text for n in (0, 1))


def test_the_log_has_a_row_per_image_and_no_name(exported, tmp_path):
    log, kept = tmp_path / "served.csv", tmp_path / "kept"
    second = ModelSource("other", exported, 7)
    settings = replace(SETTINGS, log=log, canary=0.5)
    source = versions_of(exported.parent)
    with serving(source, settings, second=second, sample=(kept, 0.5)) as live:
        os.truncate(log, 0)  # as logrotate does with copytruncate
        answered = [send(live, 2, seed=2 * n).headers["model-version"] for n in range(24)]
        assert set(answered) == {"tiny/1", "other/7"}
        until = time.monotonic() + 20
        while (shadow := live.get("/v1/statistics").json["shadow"])["agree"] == 0:
            assert time.monotonic() < until
        assert (shadow["differ"], shadow["failed"]) == (0, 0)
        assert live.get("/v1/statistics").json["kept_share"] == 0.5
        assert "agree on 100.0%" in shadow["summary"]
        assert "tltool_shadow_items_total" in live.get("/metrics").body.decode()
    assert any("at most 200 MB" in message for message in live.messages)
    with log.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 48
    assert {row["predicted_by"] for row in rows} == {model_digest(exported)}
    assert set(rows[0]) == {
        "time", "predicted_by", "class_1", "probability_1", "is_known", "ood_score",
    }  # fmt: skip
    images = [path.read_bytes() for path in kept.iterdir()]
    assert 8 < len(images) < 40
    assert set(images) <= {encoded(n) for n in range(48)}


def test_a_second_model_with_other_answers_never_answers(exported, tmp_path, monkeypatch):
    half_plus(2.0, tmp_path / "half")
    settings = replace(SETTINGS, log=tmp_path / "served.csv", canary=1.0)
    source, second = versions_of(exported.parent), versions_of(tmp_path / "half", "half")
    with serving(source, settings, second=second) as live:
        assert send(live, 1).headers["model-version"] == "tiny/1"
        live.wait_for("the second model never answers: it has other classes")
        monkeypatch.setattr(PredictionLog, "add", lambda *_: 1 / 0)
        send(live, 1)  # a broken log is no broken answer
    address, observed = Address(port=0), Observed(shadow=tmp_path / "half")
    with pytest.raises(DataError, match="--canary: the model 'half' cannot answer for 'tiny'"):
        serve(exported, address, name=None, settings=settings, log=print, observed=observed)


def test_a_second_model_of_another_backbone_predicts_but_gives_no_features(exported, tmp_path):
    """Features are of the version that was served when the request came, also if it is replaced."""
    export(tiny_model(channels=5), tmp_path / "other")
    shutil.copytree(exported, tmp_path / "tiny" / "1")
    shutil.copytree(exported, tmp_path / "next")
    source, second = versions_of(tmp_path / "tiny"), versions_of(tmp_path / "other", "other")
    instances = [{"image_bytes": b64(encoded(0))}]
    body = json.dumps({"signature_name": "features", "instances": instances}).encode()
    settings = Settings(drain_seconds=0.0, poll_seconds=0.1, canary=1.0)
    with ExitStack() as stack:
        live = stack.enter_context(serving(source, settings, second=second))
        assert send(live, 1).headers["model-version"] == "other/1"
        address = ("127.0.0.1", live.port)
        connection = stack.enter_context(socket.create_connection(address, timeout=60))
        connection.sendall(
            b"POST /v1/models/tiny:predict HTTP/1.1\r\nHost: localhost\r\n"
            b"Expect: 100-continue\r\nContent-Length: %d\r\n\r\n" % len(body)
        )
        assert connection.recv(999).startswith(b"HTTP/1.1 100 ")  # the server waits for the body
        (tmp_path / "next").rename(tmp_path / "tiny" / "2")
        live.wait_for("version 2 is now served")
        connection.sendall(body)
        answer = HTTPResponse(connection)
        answer.begin()
        assert (answer.status, answer.headers["model-version"]) == (200, "tiny/1")
        assert len(json.loads(answer.read())["predictions"][0]["features"]) == 8


def test_two_models_of_one_name_and_version_have_two_names(exported):
    first = ModelSource("tiny", exported.parent.parent / "other" / "1", 1)
    second = find_second_source(exported, first, trust=False, log=print)
    assert second is not None and second.name == "tiny-shadow"


def test_what_is_no_regular_file_is_no_log():
    with pytest.raises(UsageError, match="'/dev/null' is not a regular file"):
        PredictionLog(Path("/dev/null"), print)


def test_the_sample_stops_at_its_size(tmp_path):
    messages = []
    kept = KeptSample(tmp_path / "kept", 1.0, messages.append, max_bytes=3000)
    kept.keep(encoded(n) for n in range(10))
    kept.close()
    assert sum(path.stat().st_size for path in (tmp_path / "kept").iterdir()) <= 3000
    assert len(messages) == 1
    assert "full" in messages[0]
