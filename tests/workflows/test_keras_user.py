"""The program on the page about Keras objects: own data, layer, callback, network, back, served."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

import tltool
from tests.serving.live_server import serving, versions_of
from tltool.data.sources.python_images import png_bytes

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "keras.md"
PROGRAM = re.findall(r"^```python\n(.*?)^```$", PAGE.read_text("utf-8"), re.MULTILINE | re.DOTALL)[
    0
]


# without what the other tests look at
LESS = '"evaluate.report": False, "evaluate.label_errors": False, "train.precision": "float32", '


@pytest.mark.thorough
@pytest.mark.slow
def test_the_program_of_a_keras_user_trains_adopts_and_serves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    assert PROGRAM.count("set={") == 1
    program = PROGRAM.replace("set={", f"set={{{LESS}")
    exec(compile(program, str(PAGE), "exec"), names)
    result, adopted = names["result"], names["adopted"]
    first, second = (tltool.load(one.run) for one in (result, adopted))
    assert {row["phase"] for row in first.history} == {"probe", "head"}
    assert any(row["val_f1_score_2"] for row in first.history)
    assert adopted.metrics["accuracy"]["value"] > 0.9
    assert adopted.run != result.run and adopted.export != result.export
    weights = [model.keras_model.get_weights() for model in (second, first)]
    assert any((one != other).any() for one, other in zip(*weights, strict=True))
    trained = names["network"].get_weights()
    assert all((one == other).all() for one, other in zip(weights[0], trained, strict=True))
    expected = tltool.load(adopted.export).predict(names["images"][0])[0].top[0][0]
    with serving(versions_of(adopted.export.parent)) as live:
        (answer,) = live.classify(png_bytes(names["images"][0], where="image")).json["results"]
    assert answer["top"][0]["class_name"] == expected
