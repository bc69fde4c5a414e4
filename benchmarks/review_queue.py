"""A long queue of `tltool review`: time until the next image is shown, and memory.

python -m benchmarks.review_queue [--images 100000] [--decisions 200]

Needs Chromium; draws its images. The queue has as many rows as given; the first ones, about which
keys decide, are different JPEG files of 1024 x 768 pixels, and the others show the same files
again under other digests. The time of a decision is that from the key to the decoded next image,
in the page; the decision is on disk before. Then the page loads all rows to the end of the queue,
and shows every 1,200th image, twice. Memory: resident memory of the server, and the heap of the
page after garbage collection.
"""

import argparse
import hashlib
import os
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from PIL import Image
from playwright.sync_api import sync_playwright

from tests.browser import CHROMIUM, SIZES
from tltool.review.app import make_review_app
from tltool.review.model_views import ModelViews
from tltool.review.queues import Queue, QueueEntry, ReviewData, ReviewImage, class_queues
from tltool.review.session import ReviewSession
from tltool.serving.listener import listen
from tltool.serving.server import make_server
from tltool.serving.settings import Settings

TOKEN = "token"
CLASSES = tuple(f"class {number}" for number in range(10))
MEBIBYTE = 2**20
DECIDE = """async (count) => {
  const times = [];
  for (let done = 0; done < count; done += 1) {
    const started = performance.now(), next = `${done + 2} / `;
    document.dispatchEvent(new KeyboardEvent("keydown", { key: "akx"[done % 3] }));
    while (!document.getElementById("file").textContent.startsWith(next)) {
      await new Promise((resolve) => setTimeout(resolve, 0));
    }
    await document.getElementById("photo").decode();
    times.push(performance.now() - started);
    await new Promise((resolve) => setTimeout(resolve, 300));  // a quick person looks at it
  }
  return times;
}"""
PAGE_THROUGH = """async (count) => {
  for (let place = 0; place < count; place += 60) {
    await entryAt(place);
    if (place % 1200 === 0) {
      await show(place);
      await document.getElementById("photo").decode();
    }
  }
}"""


def draw_images(folder: Path, count: int) -> list[Path]:
    """Write JPEG files of smooth noise."""
    rng = np.random.default_rng(0)
    paths = []
    for number in range(count):
        small = Image.fromarray(rng.integers(0, 256, (24, 32, 3), dtype=np.uint8))
        path = folder / f"{number:04d}.jpg"
        small.resize((1024, 768), Image.Resampling.BICUBIC).save(path, quality=90)
        paths.append(path)
    return paths


def review_of(paths: list[Path], rows: int) -> ReviewData:
    """Return a review whose queue has ``rows`` images."""
    digests = [hashlib.sha256(path.read_bytes()).hexdigest() for path in paths]
    images = tuple(
        ReviewImage(
            paths[number % len(paths)],
            f"{CLASSES[number % 10]}/image {number:06d}.jpg",
            CLASSES[number % 10],
            digests[number] if number < len(paths) else f"{number:064x}",
            "train",
        )
        for number in range(rows)
    )
    entries = tuple(
        QueueEntry(number, CLASSES[(number + 1) % 10], "probably wrong") for number in range(rows)
    )
    queue = Queue("label-issues", "label issues", "Labels that may be wrong.", entries)
    return ReviewData("many images", images, CLASSES, (queue, *class_queues(images, CLASSES)))


def heap(page: Any, session: Any) -> float:
    """Return the used heap of the page in MiB, after garbage collection."""
    session.send("HeapProfiler.collectGarbage")
    used = page.evaluate("performance.memory.usedJSHeapSize")
    return float(used) / MEBIBYTE


def measure(address: str, rows: int, decisions: int) -> None:
    process = psutil.Process(os.getpid())
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", "--enable-precise-memory-info"]
        )
        page = browser.new_page(viewport=SIZES["desktop"], bypass_csp=True)
        page.goto(address)
        page.wait_for_function("document.getElementById('file').textContent.startsWith('1 / ')")
        times = np.array(page.evaluate(DECIDE, decisions))
        session = page.context.new_cdp_session(page)
        memory = [(process.memory_info().rss / MEBIBYTE, heap(page, session))]
        started = time.perf_counter()
        for _ in range(2):
            page.evaluate(PAGE_THROUGH, rows)
            memory.append((process.memory_info().rss / MEBIBYTE, heap(page, session)))
        seconds = (time.perf_counter() - started) / 2
        browser.close()
    print("| MiB | before | after the first time | after the second time |\n|---|---:|---:|---:|")
    print(f"| server, resident | {' | '.join(f'{one[0]:.0f}' for one in memory)} |")
    print(f"| page, heap | {' | '.join(f'{one[1]:.1f}' for one in memory)} |")
    median, high = np.percentile(times, [50, 95])
    print(
        f"\n{rows:,} images in the queue. {decisions} decisions by keys: until the next image "
        f"{median:.0f} ms (median), {high:.0f} ms (95th percentile), {times.max():.0f} ms at most. "
        f"Paging to the end took {seconds:.0f} s."
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=100_000)
    parser.add_argument("--decisions", type=int, default=200)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name, listen("127.0.0.1", 0) as listener:
        folder = Path(name)
        data = review_of(draw_images(folder, options.decisions + 1), options.images)
        session = ReviewSession(data, folder / "corrections.csv", "ann")
        settings = Settings(check_host=True, drain_seconds=0.0)
        app = make_review_app(session, ModelViews(), token=TOKEN, settings=settings)
        server = make_server(app, settings, lambda: None)
        listener.start()
        thread = threading.Thread(target=lambda: server.run(sockets=list(listener.sockets)))
        thread.start()
        try:
            measure(f"{listener.url}/{TOKEN}/", options.images, options.decisions)
        finally:
            server.should_exit = True
            thread.join()


if __name__ == "__main__":
    main()
