"""`train.cache: auto` measures the network, and loading where that decides."""

from __future__ import annotations

import pytest

from tests.training.test_recovery import Messages
from tltool.runs.manifest import read_manifest


class All(Messages):
    def on_message(self, text: str, *, level: str = "info") -> None:
        self.warnings.append(text)


@pytest.mark.thorough
@pytest.mark.slow
def test_the_choice_counts_loading_and_says_so(finetune_tiny, fruit):
    messages = All()
    result = finetune_tiny(
        fruit, "train.cache=auto", "train.cache.views=2", "augment.policy=light",
        "train.probe.enabled=false", observer=messages,
    )  # fmt: skip
    [reason] = [text for text in messages.warnings if "with cached activations" in text]
    assert "reading with augmentation " in reason and "network " in reason
    chosen = read_manifest(result.run / "manifest.json").cached
    assert reason.startswith("caching features" if chosen else "training on the images directly")
