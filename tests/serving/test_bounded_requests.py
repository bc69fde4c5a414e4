"""A request takes a bounded part of the server: of the interpreter, the model and the memory."""

from __future__ import annotations

import asyncio
import re
import threading

import numpy as np
import pytest

from tests.data.test_bounded_work import with_scans
from tests.export.tiny_classifier import encoded
from tests.serving.live_server import Live, b64
from tltool.serving.api_errors import ApiError
from tltool.serving.batching import Batcher
from tltool.serving.json_values import Arrays, parse_json
from tltool.serving.prometheus import Metrics
from tltool.serving.requests import PredictRequest
from tltool.serving.settings import Batching
from tltool.serving.signatures import Signature, TensorInfo


def runs(live: Live) -> int:
    """Return how many batches the model has run."""
    text = live.get("/metrics").body.decode()
    return int(float(re.findall(r"tltool_batch_items_count (\S+)", text)[0]))


@pytest.mark.parametrize(("part", "count"), [(b"[],", 3_000_001), (b'{"a":0},', 200_001)])
def test_a_json_text_that_takes_long_to_parse_is_too_large(part: bytes, count: int) -> None:
    with pytest.raises(ApiError) as refused:
        parse_json(b'{"instances": [' + part * count + b"1]}")
    assert refused.value.status == 413


def test_a_number_of_very_many_digits_is_refused_but_not_digits_in_a_string() -> None:
    padding = b" " * 2**16
    with pytest.raises(ApiError, match="400 digits"):
        parse_json(b'{"instances": [' + b"1" * 401 + b"]}" + padding)
    assert parse_json(b'{"b64": "' + b"1" * 5000 + b'"}' + padding)["b64"] == "1" * 5000


def test_more_items_than_the_queue_holds_are_refused_before_they_are_read(live: Live) -> None:
    answer = live.predict({"instances": ["x"] * 100_000})
    assert answer.status == 413
    assert "100000 items" in answer.error


def test_items_that_are_no_images_do_not_cost_a_run_of_the_model(live: Live) -> None:
    bad = [b64(b""), b64(b"x"), b64(with_scans(600)), b64(encoded(0)[:20])]
    expected = live.predict({"instances": [bad[0]]}).json["predictions"][0]
    before = runs(live)
    answer = live.predict({"instances": bad * 4})
    assert answer.json["predictions"] == [expected] * 16
    assert not expected["ok"]
    assert live.classify(b"x").json["results"][0]["ok"] is False
    assert runs(live) == before


def test_the_other_items_are_predicted(live: Live) -> None:
    image = b64(encoded(3))
    alone = live.predict({"instances": [image]}).json["predictions"][0]
    mixed = live.predict({"instances": [b64(b"x"), image, b64(b""), image]}).json["predictions"]
    assert [row["ok"] for row in mixed] == [False, True, False, True]
    assert mixed[1] == mixed[3]
    assert mixed[1]["probabilities"] == pytest.approx(alone["probabilities"])


def test_a_photo_of_too_many_scans_is_an_error_of_its_item(live: Live) -> None:
    result = live.classify(with_scans(600), "image/jpeg").json["results"][0]
    assert result["ok"] is False
    assert "takes too long to decode" in result["error"]


SIGNATURE = Signature(
    "s",
    {"image_bytes": TensorInfo("a", "DT_STRING", (-1,))},
    {"y": TensorInfo("b", "DT_FLOAT", (-1,))},
    "tensorflow/serving/predict",
)


def request(*decoded: int) -> PredictRequest:
    contents = np.array([b"x"] * len(decoded), dtype=object)
    return PredictRequest(SIGNATURE, {"image_bytes": contents}, len(decoded), False, None, decoded)


def test_large_images_are_decoded_within_the_budget_while_small_ones_pass() -> None:
    release, running, seen = threading.Event(), threading.Event(), []

    def run(_: Signature, inputs: Arrays) -> Arrays:
        rows = len(inputs["image_bytes"])
        seen.append(rows)
        if len(seen) == 1:
            running.set()
            release.wait(10)
        return {"y": np.zeros(rows)}

    async def story() -> None:
        batcher = Batcher(run, Batching(max_delay=0), Metrics(), decoded_bytes=100)
        large = asyncio.create_task(batcher.predict(request(40, 40, 40, 200, 10)))
        while not running.is_set():
            await asyncio.sleep(0.01)
        small = await asyncio.wait_for(batcher.predict(request(0)), 5)
        assert len(small["y"]) == 1
        assert seen == [3, 1]  # 40 + 40 + 10 of the large ones, then the small one
        release.set()
        assert len((await large)["y"]) == 5
        assert seen[2:] == [1, 1]  # 40, then 200 alone
        await batcher.close()
        with pytest.raises(ApiError, match="no longer served"):
            await asyncio.wait_for(batcher.predict(request(0)), 5)

    asyncio.run(story())
