"""A review of twelve small images on a server in this process."""

from __future__ import annotations

import hashlib
import http.client
import json
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import write_photos
from tltool.data.corrections.corrections_file import read_corrections
from tltool.data.corrections.decision import Decision
from tltool.review.app import make_review_app
from tltool.review.model_views import ModelViews
from tltool.review.queues import Queue, QueueEntry, ReviewData, ReviewImage, class_queues
from tltool.review.session import ReviewSession
from tltool.serving.listener import listen
from tltool.serving.server import make_server
from tltool.serving.settings import Settings

TOKEN = "secret-token"
CLASSES = ("cat", "dog", "kaki 柿")


@dataclass
class LiveReview:
    """A running review."""

    port: int
    photos: Path
    file: Path

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}/{TOKEN}/"

    @property
    def rows(self) -> tuple[Decision, ...]:
        return read_corrections(self.file)

    def ask(
        self, path: str, body: Any = None, *, token: str = TOKEN, **headers: str
    ) -> tuple[int, dict[str, str], bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            content = None if body is None else json.dumps(body).encode()
            sent = {name.replace("_", "-"): value for name, value in headers.items()}
            if content is not None:
                sent.setdefault("Content-Type", "application/json")
            method = "GET" if content is None else "POST"
            connection.request(method, f"/{token}/{path}", content, sent)
            response = connection.getresponse()
            return response.status, dict(response.headers), response.read()
        finally:
            connection.close()

    def decide(self, images: list[int], action: str, label: str = "") -> Any:
        status, _, body = self.ask("api/decide", dict(images=images, action=action, label=label))
        return status, json.loads(body)


def review_of(photos: Path) -> ReviewData:
    """Return all images of a folder, with a queue of the first five, which look like dogs."""
    paths = sorted(photos.glob("*/*.jpg"))
    images = tuple(
        ReviewImage(
            path,
            f"{path.parent.name}/{path.name}",
            path.parent.name,
            hashlib.sha256(path.read_bytes()).hexdigest(),
        )
        for path in paths
    )
    issues = tuple(QueueEntry(number, "dog", "93% probably wrong") for number in range(5))
    queue = Queue("label-issues", "label issues", "Labels that are probably wrong.", issues)
    return ReviewData("photos", images, CLASSES, (queue, *class_queues(images, CLASSES)))


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., LiveReview]]:
    """Start a review of the images in ``tmp_path / "photos"``; it ends with the test."""
    running = []

    def start_review(who: str = "ann", views: ModelViews | None = None) -> LiveReview:
        photos, file = tmp_path / "photos", tmp_path / "corrections.csv"
        if not photos.exists():
            write_photos(photos)
        session = ReviewSession(review_of(photos), file, who)
        settings = Settings(check_host=True, drain_seconds=0.0)
        listener = listen("127.0.0.1", 0)
        app = make_review_app(session, views or ModelViews(), token=TOKEN, settings=settings)
        server = make_server(app, settings, lambda: None)
        listener.start()
        thread = threading.Thread(target=lambda: server.run(sockets=list(listener.sockets)))
        thread.start()
        running.append((server, thread, listener))
        while not server.started:
            time.sleep(0.01)
        return LiveReview(listener.port, photos, file)

    yield start_review
    for server, thread, listener in running:
        server.should_exit = True
        thread.join(30)
        listener.__exit__()
