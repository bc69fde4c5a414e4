"""Memory does not grow with the number of images that are predicted, explained or measured."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.conftest import unless_thorough

PHOTOS, WARM = 1000, 200
MEASURED = """
import resource, sys
from pathlib import Path
from tltool.events import SilentObserver
from tltool.workflows.evaluate import evaluate
from tltool.workflows.prediction.explainer import load_explainable
from tltool.workflows.predict import stream_predictions
from tltool.workflows.prediction.options import PredictOptions

verb, model, images = sys.argv[1:]
held = {}

class Watching(SilentObserver):
    def on_phase(self, name, detail=""):
        self.phase = name

    def on_progress(self, done, total, *, unit="images"):
        if self.phase == ("explain" if verb == "explain" else "predict"):
            pages = int(open("/proc/self/statm").read().split()[1])
            held[done] = pages * resource.getpagesize() / 2**20

watching = Watching()
if verb == "predict":
    options = PredictOptions(Path(model), [images])
    stream = stream_predictions(options, observer=watching)
    assert all(one.error is None for one in stream.predictions)
elif verb == "explain":
    watching.on_phase(verb)
    explainable = load_explainable(Path(model), "grad-cam")
    content = next(Path(images).rglob("*.jpg")).read_bytes()
    for done in range(8, PHOTOS + 1, 8):
        assert explainable.explain([content] * 8, -1).predictions.ok.all()
        watching.on_progress(done, PHOTOS)
else:
    evaluate(model, images, observer=watching)
warm = min(done for done in held if done >= WARM)
print(max(held), round(held[max(held)] - held[warm]))
""".replace("WARM", str(WARM)).replace("PHOTOS", str(PHOTOS))


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A thousand images of 490 KB each as the model reads them."""
    photos = tmp_path_factory.mktemp("many") / "photos"
    (photos / "plum").mkdir(parents=True)
    noise = np.random.default_rng(0).integers(0, 255, (16, 16, 3), dtype=np.uint8)
    Image.fromarray(noise).resize((200, 200)).save(photos / "plum" / "0.jpg")
    for number in range(1, PHOTOS):
        os.link(photos / "plum" / "0.jpg", photos / "plum" / f"{number}.jpg")
    return photos


@pytest.mark.thorough
@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
@pytest.mark.parametrize("verb", unless_thorough(["predict", "explain", "evaluate"], "predict"))
def test_memory_does_not_grow_with_the_number_of_photos(forked_tltool, trained, many, verb):
    done = forked_tltool.run(MEASURED, verb, str(trained.run), str(many))
    assert done.returncode == 0, done.stderr
    count, grown = map(int, done.stdout.split())
    assert count == PHOTOS
    assert grown < 40, f"{grown} MiB more at the end than after {WARM} images"
