"""Images that are moved or replaced while a run uses them."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.data.samples import encode, tiles
from tests.workflows.conftest import AtPhase, write_fruit
from tltool.data.audit.changed_files import ChangedFilesError
from tltool.runs.manifest import read_manifest
from tltool.workflows.finetune import FinetuneResult
from tltool.workflows.resume import resume


@pytest.mark.slow
def test_a_run_whose_images_vanish_can_be_resumed(
    tmp_path: Path, finetune_tiny: Callable[..., FinetuneResult]
) -> None:
    photos, away = write_fruit(tmp_path / "photos", n=6), tmp_path / "away"
    observer = AtPhase("features", lambda: shutil.move(photos / "plum", away))
    with pytest.raises(ChangedFilesError, match=r"plum/.* and 5 more images are gone") as gone:
        finetune_tiny(photos, observer=observer)
    assert gone.value.exit_code == 3
    assert gone.value.hint is not None
    assert "tltool runs resume" in gone.value.hint
    shutil.move(away, photos / "plum")
    run = tmp_path / "run0"
    resume(run)
    assert read_manifest(run / "manifest.json").status == "finished"


@pytest.mark.slow
@pytest.mark.parametrize("cache", ["on", pytest.param("off", marks=pytest.mark.thorough)])
def test_images_that_are_swapped_after_the_audit_are_never_trained_on(
    tmp_path: Path, finetune_tiny: Callable[..., FinetuneResult], cache: str
) -> None:
    photos = write_fruit(tmp_path / "photos", n=6)

    def swap() -> None:
        for number, path in enumerate((photos / "plum").iterdir()):
            path.write_bytes(encode(tiles(seed=number), "PNG"))

    with pytest.raises(ChangedFilesError, match=r"plum/.* is different") as error:
        finetune_tiny(photos, f"train.cache={cache}", observer=AtPhase("features", swap))
    assert error.value.exit_code == 3
    assert not (tmp_path / "run0" / "model.keras").exists()
