"""A server in this process, and a client that uses only the standard library."""

from __future__ import annotations

import base64
import http.client
import json
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tltool.serving.after_answers import observe_answers
from tltool.serving.app import make_app
from tltool.serving.listener import Listener, listen
from tltool.serving.model_source import ModelSource
from tltool.serving.prometheus import Metrics
from tltool.serving.repository import Repository
from tltool.serving.server import make_server
from tltool.serving.settings import Settings


@dataclass(frozen=True)
class Answer:
    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def error(self) -> str:
        return self.json["error"]


@dataclass
class Live:
    """A running server, and its log messages."""

    port: int
    name: str
    server: Any = None
    thread: threading.Thread | None = None
    messages: list[str] = field(default_factory=list)

    def ask(
        self, method: str, path: str, body: Any = None, headers: Mapping[str, str] | None = None
    ) -> Answer:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            content = json.dumps(body).encode() if isinstance(body, dict | list) else body
            connection.request(method, path, content, dict(headers or {}))
            response = connection.getresponse()
            return Answer(response.status, dict(response.headers), response.read())
        finally:
            connection.close()

    def get(self, path: str) -> Answer:
        return self.ask("GET", path)

    def predict(self, body: Any, where: str = "") -> Answer:
        return self.ask("POST", f"/v1/models/{self.name}{where}:predict", body)

    def classify(self, body: bytes, kind: str = "image/png", query: str = "") -> Answer:
        return self.ask("POST", f"/v1/classify{query}", body, {"Content-Type": kind})

    def wait_for(self, sentence: str, seconds: float = 30.0) -> None:
        until = time.monotonic() + seconds
        while not any(sentence in one for one in self.messages):
            assert time.monotonic() < until, self.messages
            time.sleep(0.02)

    def stop(self) -> None:
        assert self.thread
        self.server.should_exit = True
        self.thread.join(30)
        assert not self.thread.is_alive()


@contextmanager
def serving(
    source: ModelSource,
    settings: Settings | None = None,
    *,
    listener: Listener | None = None,
    second: ModelSource | None = None,
    sample: tuple[Path, float] | None = None,
) -> Iterator[Live]:
    """Serve ``source``, by default on a free port of the loopback interface."""
    settings = settings or Settings(drain_seconds=0.0)
    messages: list[str] = []
    with listener or listen("127.0.0.1", 0) as listener:
        metrics = Metrics()
        repository = Repository(source, settings, metrics, messages.append)
        repository.load_first()
        if second is not None:
            repository.candidate = Repository(
                second, settings, Metrics(), messages.append, first=metrics.served
            )
            repository.candidate.load_first()
        after = observe_answers(repository, settings, metrics, sample, messages.append)
        app, drain = make_app(repository, settings, metrics, after)
        server = make_server(app, settings, drain)
        thread = threading.Thread(target=lambda: server.run(sockets=list(listener.sockets)))
        thread.start()
        live = Live(listener.port, source.name, server, thread, messages)
        while not server.started:
            time.sleep(0.01)
        try:
            yield live
        finally:
            live.stop()


def b64(content: bytes) -> dict[str, str]:
    return {"b64": base64.b64encode(content).decode()}


def form(files: Mapping[str, bytes]) -> tuple[bytes, str]:
    """Return the body and the content type of a form that uploads ``files``."""
    parts = [
        f'--edge\r\nContent-Disposition: form-data; name="image"; filename="{name}"\r\n'
        "Content-Type: application/octet-stream\r\n\r\n".encode()
        + content
        + b"\r\n"
        for name, content in files.items()
    ]
    return b"".join([*parts, b"--edge--\r\n"]), "multipart/form-data; boundary=edge"


def versions_of(folder: Path, name: str = "tiny") -> ModelSource:
    return ModelSource(name, folder)
