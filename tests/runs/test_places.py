"""Messages name the place that is full and the command that works in this installation."""

from __future__ import annotations

import errno
import importlib.metadata
import os
import shutil
import sys
import tarfile
import tempfile
from pathlib import Path

import numpy as np
import platformdirs
import pytest
import typer
from typer.testing import CliRunner

from tests.export.test_acceptance import LITERT
from tltool.cli.terminal.error_output import guarded
from tltool.errors import EnvironmentProblem
from tltool.export.fresh_process import FreshProcess
from tltool.runs import install_hint
from tltool.runs.temporary import temporary_folder
from tltool.runs.user_cache import user_cache
from tltool.workflows.pack_run import open_packed_run

FULL = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def full(*_, **__):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.fixture
def temporary(tmp_path, monkeypatch) -> Path:
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


def test_a_full_folder_for_temporary_files_is_named_and_not_that_of_the_models(
    temporary, tmp_path, monkeypatch
):
    monkeypatch.setattr(np, "savez", full)
    with FreshProcess(LITERT.runtime) as child, pytest.raises(EnvironmentProblem) as caught:
        child.run(tmp_path / "model.tflite", arrays=np.zeros((1, 8, 8, 3), np.float32))
    assert str(temporary) in caught.value.message
    assert "TMPDIR" in str(caught.value.hint)


def test_a_packed_run_that_does_not_fit_is_not_called_damaged(temporary, tmp_path, monkeypatch):
    with tarfile.open(tmp_path / "run.tar.gz", "w:gz") as tar:
        tar.addfile(tarfile.TarInfo("recipe.yaml"))
    monkeypatch.setattr(shutil, "copyfileobj", full)
    with (
        pytest.raises(EnvironmentProblem, match=str(temporary)),
        open_packed_run(tmp_path / "run.tar.gz"),
    ):
        pass


def test_a_folder_that_cannot_be_made_is_named(temporary):
    temporary.rmdir()
    with pytest.raises(EnvironmentProblem, match=str(temporary)), temporary_folder("x-"):
        pass


def printed(error: BaseException) -> str:
    app = typer.Typer(pretty_exceptions_enable=False)

    @app.command()
    @guarded
    def fails() -> None:
        raise error

    result = CliRunner().invoke(app, [])
    assert result.exit_code == 5
    return result.stderr


def test_no_folder_for_temporary_files_at_all_is_a_sentence():
    error = FileNotFoundError(2, "No usable temporary directory found in ['/tmp', '/var/tmp']")
    assert "the folder for temporary files" in printed(error)


def test_the_full_disk_is_named(monkeypatch, tmp_path, temporary):
    monkeypatch.chdir(tmp_path)
    free = {str(tmp_path): 10**9, str(temporary): 0}
    usage = type("Usage", (), {})

    def disk_usage(folder):
        result = usage()
        result.free = free[str(folder)]
        return result

    monkeypatch.setattr("shutil.disk_usage", disk_usage)
    assert f"the disk of '{temporary}' is full" in printed(FULL)


# hints ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("extra", ["onnx", "litert", "mlflow", "serve", "gpu"])
def test_a_hint_names_the_packages_and_never_tltool_itself(extra):
    hint = install_hint.install_hint(extra)
    packages = hint.partition(" install ")[2]
    assert packages
    assert "tltool" not in packages
    assert ("tensorflow" in packages) == (extra == "gpu")


def test_a_gpu_version_replaces_the_one_for_cpus(monkeypatch):
    monkeypatch.setattr(importlib.metadata, "version", lambda name: "2.21.0")
    assert "uninstall tensorflow-cpu && " in install_hint.gpu_hint()


def test_the_hint_is_for_this_environment(monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda name: f"/elsewhere/bin/{name}")
    monkeypatch.setattr(install_hint, "find_spec", lambda name: name)
    assert install_hint.install_hint("onnx").startswith(f"{sys.executable} -m pip ")
    monkeypatch.setattr(install_hint, "find_spec", lambda name: None)
    assert install_hint.install_hint("onnx").startswith("uv pip install ")


# no home --------------------------------------------------------------------------------------


@pytest.fixture
def homeless(monkeypatch):
    def no_home(*_):
        raise RuntimeError("could not determine the home directory")

    monkeypatch.delenv("TLTOOL_WEIGHTS_DIR", raising=False)
    monkeypatch.setattr(platformdirs, "user_cache_dir", no_home)


def test_without_a_home_the_cache_is_with_the_temporary_files(homeless, temporary):
    folder = user_cache("weights", variable="TLTOOL_WEIGHTS_DIR")
    assert folder == temporary / f"tltool-{os.getuid()}" / "weights"
    folder.mkdir(parents=True)
    assert user_cache("weights", variable="TLTOOL_WEIGHTS_DIR") == folder


@pytest.mark.parametrize("kind", ["file", "link"])
def test_a_folder_of_someone_else_is_not_trusted(homeless, temporary, tmp_path, kind):
    place = temporary / f"tltool-{os.getuid()}"
    place.touch() if kind == "file" else place.symlink_to(tmp_path)
    with pytest.raises(EnvironmentProblem, match="belongs to someone else"):
        user_cache("weights", variable="TLTOOL_WEIGHTS_DIR")


def test_a_relative_cache_is_not_put_into_the_working_folder(monkeypatch, temporary):
    monkeypatch.delenv("TLTOOL_WEIGHTS_DIR", raising=False)
    monkeypatch.setattr(platformdirs, "user_cache_dir", lambda name: "~/.cache/tltool")
    assert user_cache("weights", variable="TLTOOL_WEIGHTS_DIR").is_relative_to(temporary)
