"""The Dockerfile and compose.yaml, as far as they can be checked without an engine."""

from __future__ import annotations

import fnmatch
import json
import re
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
import yaml

import tltool

ROOT = Path(__file__).resolve().parent.parent
TEXT = (ROOT / "Dockerfile").read_text(encoding="utf-8")


def instructions() -> list[tuple[str, str]]:
    """Return (name, rest) of every instruction, continued lines joined."""
    lines = [line for line in TEXT.splitlines() if not line.lstrip().startswith("#")]
    joined = re.sub(r"\\\n\s*", " ", "\n".join(lines))
    pairs = [line.split(maxsplit=1) for line in joined.splitlines() if line.strip()]
    return [(name, rest) for name, rest in pairs]


def values(name: str) -> list[str]:
    return [rest for instruction, rest in instructions() if instruction == name]


def copied_from_the_context() -> list[str]:
    sources = []
    for rest in values("COPY"):
        if "--from=" not in rest:
            sources += rest.split()[:-1]
    return [source.replace("${EXTRA}", extra) for source in sources for extra in ("cpu", "gpu")]


def ignored(path: str) -> bool:
    """Return whether .dockerignore keeps ``path`` out: the last line that matches decides."""
    out = False
    for line in (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines():
        pattern = line.removeprefix("!")
        parts = [path, *map(str, Path(path).parents)]
        if line and not line.startswith("#") and any(fnmatch.fnmatch(p, pattern) for p in parts):
            out = not line.startswith("!")
    return out


def test_hadolint_has_nothing_to_say():
    beside = Path(sys.executable).with_name("hadolint")
    program = str(beside) if beside.exists() else shutil.which("hadolint")
    if program is None:
        pytest.skip("there is no hadolint here")
    done = subprocess.run([program, "Dockerfile"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("source", sorted(set(copied_from_the_context())))
def test_what_is_copied_exists_and_is_in_the_context(source):
    assert (ROOT / source).exists()
    assert not ignored(source)


@pytest.mark.parametrize(
    "path", [".git", "tests", "runs", "saved_models", ".venv", "docs/docker.md"]
)
def test_the_context_holds_nothing_else(path):
    assert ignored(path)


def test_nothing_is_fetched_without_a_hash():
    assert not values("ADD")
    installs = re.findall(r"pip install (.*?)(?:&&|$)", " && ".join(values("RUN")))
    assert installs
    for arguments in installs:
        assert "--require-hashes" in arguments or "--no-index" in arguments


def test_every_stage_starts_from_the_base_of_ones_choice():
    assert instructions()[0][0] == "ARG"
    assert values("FROM") == [
        "${BASE_IMAGE} AS environment",
        "environment AS build",
        "environment",
    ]


def test_it_runs_tltool_as_a_user_with_a_number():
    assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", values("USER")[-1])
    assert json.loads(values("ENTRYPOINT")[-1]) == ["tltool"]
    assert values("WORKDIR")[-1] == "/work"


def test_an_edit_of_the_source_leaves_the_environment_and_the_weights_alone():
    environment, build, final = TEXT.split("\nFROM ")[1:]
    assert "COPY tltool" in build
    assert "tltool tltool" not in environment + final
    copied = re.findall(r"COPY --from=build (\S+)", final)
    assert copied == ["/image", "/opt/tltool"]


def test_the_label_tells_the_version():
    assert f"VERSION={tltool.__version__}" in values("ARG")


def compose() -> dict:
    return yaml.safe_load((ROOT / "compose.yaml").read_text(encoding="utf-8"))["services"]


def test_compose_trains_on_data_that_it_cannot_change():
    train = compose()["train"]
    mounts = {mount["target"]: mount for mount in train["volumes"]}
    assert mounts["/data"]["read_only"] is True
    assert not mounts["/work"].get("read_only")
    assert train["read_only"] is True
    assert train["network_mode"] == "none"


@pytest.mark.parametrize("name", ["serve", "tltool-serve"])
def test_compose_serves_on_this_machine_only_and_changes_no_model(name):
    service = compose()[name]
    assert all(port.startswith("127.0.0.1:") for port in service["ports"])
    assert all(mount["read_only"] for mount in service["volumes"])


@pytest.mark.parametrize("name", compose())
def test_compose_gives_no_service_more_than_it_needs(name):
    service = compose()[name]
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["read_only"] is True
    assert service["pids_limit"] > 0
    assert service["mem_limit"]
    assert service["user"]


def test_every_base_image_can_be_given_by_its_digest():
    assert "${SERVING_IMAGE:-" in compose()["serve"]["image"]
    assert values("ARG")[0].startswith("BASE_IMAGE=")


def test_the_example_for_kubernetes_is_confined():
    (text,) = re.findall(
        r"## Kubernetes.*?```yaml\n(.*?)```", (ROOT / "docs/serving.md").read_text(), re.DOTALL
    )
    pod = next(yaml.safe_load_all(text))["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert "@sha256:" in container["image"]
    assert container["securityContext"] == {
        "readOnlyRootFilesystem": True,
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
    }
    assert container["resources"]["limits"].keys() == {"memory", "ephemeral-storage"}
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["automountServiceAccountToken"] is False


def test_one_compose_service_starts_at_a_time():
    assert all(service["profiles"] == [name] for name, service in compose().items())


class Models(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200 if self.path == "/v1/models" else 404)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def a_server() -> Iterator[int]:
    with HTTPServer(("127.0.0.1", 0), Models) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_port
        server.shutdown()


def health(tmp_path: Path, *command: str) -> int:
    process = tmp_path / "cmdline"
    process.write_text("\0".join(["/opt/venv/bin/python", *command]) + "\0", encoding="utf-8")
    script = ROOT / "docker" / "healthcheck.py"
    return subprocess.run([sys.executable, str(script), str(process)], timeout=60).returncode


@pytest.mark.parametrize(
    "command",
    [("finetune", "/data"), ("predict", "serve", "a.jpg"), ("--help",), ("runs", "list", "serve")],
    ids=" ".join,
)
def test_other_commands_than_serve_are_healthy(tmp_path, command):
    assert health(tmp_path, "/opt/tltool/bin/tltool", *command) == 0


@pytest.mark.parametrize("form", ["--port {}", "--port={}"])
def test_a_server_is_healthy_while_it_answers(tmp_path, form):
    with a_server() as port:
        options = form.format(port).split()
        assert health(tmp_path, "/opt/tltool/bin/tltool", "serve", "model", *options) == 0
    assert health(tmp_path, "/opt/tltool/bin/tltool", "serve", "model", *options) == 1


@pytest.mark.parametrize("name", ["AIP_HTTP_PORT", "SAGEMAKER_BIND_TO_PORT"])
def test_the_port_of_a_platform_is_asked(tmp_path, monkeypatch, name):
    with a_server() as port:
        monkeypatch.setenv(name, str(port))
        assert health(tmp_path, "/opt/tltool/bin/tltool", "serve") == 0
    assert health(tmp_path, "/opt/tltool/bin/tltool", "serve") == 1


def test_a_server_on_a_socket_is_asked(tmp_path):
    path = str(tmp_path / "s")
    assert health(tmp_path, "/opt/tltool/bin/tltool", "serve", "--unix-socket", path) == 1
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen()

        def answer() -> None:
            with listener.accept()[0] as client:
                client.recv(4096)
                client.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")

        threading.Thread(target=answer, daemon=True).start()
        assert health(tmp_path, "/opt/tltool/bin/tltool", "serve", "--unix-socket", path) == 0


def test_a_server_started_through_an_init_process_is_asked_too(tmp_path):
    assert health(tmp_path, "/sbin/docker-init", "--", "tltool", "serve", "--port", "1") == 1
