"""`tltool serve`: errors before it listens, start and stop of the process."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from tests.conftest import small_manifest, unless_thorough
from tests.export.tiny_classifier import encoded, export, tiny_model
from tltool.export.golden import GOLDEN_ASSET, Golden
from tltool.export.seal import write_seal
from tltool.runs.manifest import write_manifest

pytestmark = pytest.mark.timeout(90)  # a missing error would otherwise serve forever


@pytest.fixture(scope="session")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return export(tiny_model(), tmp_path_factory.mktemp("saved_models") / "tiny")


def test_no_such_folder(tltool, the_error):
    result = tltool("serve", "nowhere")
    assert result.exit_code == 2
    assert "there is no model 'nowhere'" in the_error(result)


def test_no_model_at_all(tltool, the_error):
    result = tltool("serve")
    assert result.exit_code == 2
    assert "no model in saved_models/" in the_error(result)


def test_other_formats_are_not_taken_for_models(tltool, the_error, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    litert = tmp_path / "saved_models" / "ants-litert" / "1"
    litert.mkdir(parents=True)
    (litert / "model.tflite").write_bytes(b"")
    assert "no model in saved_models/" in the_error(tltool("serve"))
    for folder in (litert, litert.parent):
        result = tltool("serve", folder)
        assert result.exit_code == 3
        assert "contains model.tflite; the server needs a SavedModel" in the_error(result)
    for name in ("ants", "bees"):
        (tmp_path / "saved_models" / name / "1").mkdir(parents=True)
        (tmp_path / "saved_models" / name / "1" / "saved_model.pb").write_bytes(b"")
    assert "saved_models/ contains several models: ants, bees" in the_error(tltool("serve"))


def test_a_folder_without_versions(tltool, the_error, tmp_path):
    (tmp_path / "model" / "1").mkdir(parents=True)
    result = tltool("serve", tmp_path / "model", "--port", 0)
    assert result.exit_code == 3
    assert "has no version to serve" in the_error(result)


def test_a_port_in_use(tltool, the_error, exported):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        result = tltool("serve", exported.parent, "--port", port)
    assert result.exit_code == 5
    assert f"port {port} of 127.0.0.1 is in use" in the_error(result)
    assert "--port 0" in result.stderr


def test_no_such_host(tltool, the_error, exported):
    result = tltool("serve", exported.parent, "--host", "not a host")
    assert result.exit_code == 2
    assert "no address 'not a host'" in the_error(result)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [([""], "'MODEL_BASE_DIR|RUN': it is empty"), ([".", "--name", ""], "'--name': it is empty")],
)
def test_an_empty_name_is_not_left_out(tltool, arguments, message):
    result = tltool("serve", *arguments)
    assert result.exit_code == 2
    assert message in result.stderr


def test_an_empty_host_is_not_all_networks(tltool, exported):
    result = tltool("serve", exported.parent, "--host", "")
    assert result.exit_code == 2
    assert "'--host': it is empty" in result.stderr


def test_a_socket_and_a_port_are_two_addresses(tltool, the_error, exported):
    result = tltool("serve", exported.parent, "--unix-socket", "s", "--port", 0)
    assert result.exit_code == 2
    assert "--unix-socket cannot be combined" in the_error(result)


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("--cors", "example.org/page", "--cors 'example.org/page' is not an origin"),
        ("--path-prefix", "digits", "--path-prefix 'digits' is not a path"),
        ("--allow-host", "http://a.example", "--allow-host 'http://a.example' is not the name"),
        ("--token", "nowhere", "--token 'nowhere' cannot be read"),
        ("--token", os.devnull, f"--token '{os.devnull}' holds no token"),
    ],
)
def test_an_invalid_option_of_a_proxy(tltool, the_error, exported, option, value, message):
    result = tltool("serve", exported.parent, option, value)
    assert result.exit_code == 2
    assert message in the_error(result)


def test_a_port_of_a_platform_that_is_none(tltool, the_error, exported, monkeypatch):
    monkeypatch.setenv("AIP_HTTP_PORT", "http")
    result = tltool("serve", exported.parent)
    assert result.exit_code == 2
    assert "AIP_HTTP_PORT is 'http', which is not a port" in the_error(result)


def test_a_name_that_cannot_be_part_of_a_url(tltool, the_error, exported):
    result = tltool("serve", exported.parent, "--name", "a/b:c")
    assert result.exit_code == 2
    assert "'a/b:c' cannot be the name" in the_error(result)


def test_a_damaged_export_is_not_served(tltool, the_error, tmp_path):
    folder = export(tiny_model(), tmp_path / "tiny")
    weights = folder / "variables" / "variables.data-00000-of-00001"
    content = weights.read_bytes()
    weights.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    result = tltool("serve", tmp_path / "tiny", "--port", 0)
    assert result.exit_code == 4
    assert "variables.data-00000-of-00001 has changed since the export" in the_error(result)


def test_an_export_with_other_predictions_is_not_served(tltool, the_error, tmp_path):
    folder = export(tiny_model(), tmp_path / "tiny")
    other = Golden((encoded(1), encoded(2)), np.full((2, 3), 1 / 3, np.float32))
    (folder / "assets" / GOLDEN_ASSET).write_bytes(other.to_bytes())
    write_seal(folder, {"format": "saved_model"})
    result = tltool("serve", tmp_path / "tiny", "--port", 0)
    assert result.exit_code == 4
    assert "have changed" in the_error(result)
    assert "a probability differs by 0.5" in the_error(result)


def test_a_run_without_an_export_gets_the_command_as_hint(tltool, the_error, tmp_path):
    run = tmp_path / "run"
    run.mkdir()
    write_manifest(run / "manifest.json", small_manifest())
    result = tltool("serve", run)
    assert result.exit_code == 3
    assert "has no export to serve" in the_error(result)
    assert f"tltool export {run}" in result.stderr


@pytest.fixture
def started(tmp_path: Path) -> Iterator[object]:
    """Start `tltool serve` as a process of its own; return it and its address."""
    processes = []

    def start(*args: object) -> tuple[subprocess.Popen[str], str]:
        program = "from tltool.cli.main import run; run()"
        command = [sys.executable, "-c", program, "serve", *map(str, args), "--port", "0"]
        process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, cwd=tmp_path)
        processes.append(process)
        for sentence in process.stderr:
            page = re.search(r"page +(http://\S+)/", sentence)
            if page:
                return process, page[1]
        raise AssertionError("it did not start")

    yield start
    for process in processes:
        process.kill()
        process.wait()
        process.stderr.close()


STOPS = [signal.SIGTERM, signal.SIGINT, signal.SIGHUP]


@pytest.mark.slow
@pytest.mark.parametrize("sent", unless_thorough([*STOPS], signal.SIGHUP))
def test_a_signal_stops_the_server_with_exit_code_0(started, exported, tmp_path, sent):
    run = tmp_path / "run"
    run.mkdir()
    write_manifest(run / "manifest.json", small_manifest(export=str(exported)))
    process, url = started(run)
    request = urllib.request.Request(f"{url}/v1/classify", encoded(1))
    with urllib.request.urlopen(request, timeout=30) as response:
        assert json.load(response)["results"][0]["ok"]
    os.kill(process.pid, sent)
    began = time.monotonic()
    assert process.wait(20) == 0
    assert time.monotonic() - began < 10
    assert "all requests were finished" in process.stderr.read()
