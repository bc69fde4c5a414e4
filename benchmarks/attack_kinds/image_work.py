"""One image, bounded work: in the server, in `tltool predict` and in the audit."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from benchmarks.attack_kinds.hostile_images import LARGE, REFUSED, SMALL, photo, saved
from benchmarks.attack_kinds.outcome import Outcome, run_python
from benchmarks.attack_kinds.served_model import Ordinary, ask, tiny_server

SERVER, PREDICT, AUDIT = "one image: server", "one image: predict", "one image: audit"
MAX_SECONDS = 20.0  # for the largest allowed image, on two cores that others use too
MAX_REFUSAL = 2.0
MAX_MIB = 2048


def attacks(folder: Path) -> Iterator[Outcome]:
    """Send every image to the server, and give all of them to the command line."""
    contents = {name: build() for name, build in (REFUSED | SMALL | LARGE).items()}
    with tiny_server(folder) as server, Ordinary(server) as ordinary:
        for name, content in contents.items():
            ordinary.reset()
            yield classified(name, content, server.port, ordinary)
            if name in REFUSED:
                ordinary.reset()
                yield predicted(name, content, server.port, server.name, ordinary)
        ordinary.reset()
        yield concurrent(server.port, ordinary)
    yield from command_line(folder, contents)


def classified(name: str, content: bytes, port: int, ordinary: Ordinary) -> Outcome:
    """Send an image to ``/v1/classify``."""
    answer = ask(port, "/v1/classify", content, {"Content-Type": "image/png"})
    limit = MAX_REFUSAL if name in REFUSED else MAX_SECONDS
    answered = answer.status in ((200, 413) if name in REFUSED else (200,))
    right = answered and answer.seconds <= limit
    if name in REFUSED and answer.status == 200:
        right &= not json.loads(answer.body)["results"][0]["ok"]
    if name in LARGE:
        right &= json.loads(answer.body)["results"][0]["ok"]
    time.sleep(0.1)
    figure = f"{answer.status} in {answer.seconds:.1f} s, {ordinary.figure}"
    return Outcome(SERVER, f"classify: {name}", right and ordinary.held, figure)


def predicted(name: str, content: bytes, port: int, model: str, ordinary: Ordinary) -> Outcome:
    """Send an image twice, beside an ordinary one, to ``:predict``."""
    files = [content, photo(), content]
    rows = [{"image_bytes": {"b64": base64.b64encode(one).decode()}} for one in files]
    body = json.dumps({"instances": rows}).encode()
    answer = ask(port, f"/v1/models/{model}:predict", body, {"Content-Type": "application/json"})
    right = answer.status in (200, 413) and answer.seconds <= 2 * MAX_REFUSAL
    if answer.status == 200:  # 413 if the text is larger than a request may be
        right = [row["ok"] for row in json.loads(answer.body)["predictions"]] == [
            False,
            True,
            False,
        ]
    figure = f"{answer.status} in {answer.seconds:.1f} s, {ordinary.figure}"
    return Outcome(SERVER, f":predict: {name}", right and ordinary.held, figure)


def concurrent(port: int, ordinary: Ordinary) -> Outcome:
    """Send 64 JPEGs of 20 megapixels at the same time."""
    content = saved("JPEG", (5472, 3648))
    with ThreadPoolExecutor(64) as pool:
        send = [
            pool.submit(
                ask, port, "/v1/classify", content, {"Content-Type": "image/jpeg"}, seconds=300
            )
            for _ in range(64)
        ]
        answers = [one.result() for one in send]
    right = all(one.status in (200, 503) for one in answers)
    ok = sum(one.status == 200 for one in answers)
    figure = f"{ok} answered, slowest {max(a.seconds for a in answers):.1f} s, {ordinary.figure}"
    return Outcome(SERVER, "64 concurrent JPEGs of 20 megapixels", right and ordinary.held, figure)


def command_line(folder: Path, contents: dict[str, bytes]) -> Iterator[Outcome]:
    """Run `tltool predict` on all images at once, and inspect each of them as the audit does."""
    images = folder / "images" / "a"
    images.mkdir(parents=True)
    paths = {}
    for number, (name, content) in enumerate(contents.items()):
        paths[name] = images / f"{number:03}.png"
        paths[name].write_bytes(content)
    model = str(next((folder / "model").iterdir()))
    ended = run_python(["-m", "tltool", "predict", model, str(images), "--json"], seconds=600)
    within = ended.peak_mib <= MAX_MIB and "Traceback" not in ended.output
    lines = ended.output.splitlines()
    for name, path in paths.items():
        named = [line for line in lines if path.name in line]
        yield Outcome(PREDICT, name, within and bool(named), (named or ["no line"])[0][-80:])
    yield Outcome(PREDICT, "all in one command", within, ended.figure)
    ended = run_python(["-m", "benchmarks.attack_kinds.inspect_files", str(images)], seconds=600)
    inspected = [line for line in ended.output.splitlines() if line.startswith("RESULT")]
    for name, path in paths.items():
        found = next((line for line in inspected if path.name in line), "no line")
        right = "SLOW" not in found and found != "no line"
        if name in REFUSED and "megapixels" not in name:
            right &= " bad: " in found
        yield Outcome(AUDIT, name, right, found[15:90])
    within = ended.code == 0 and ended.peak_mib <= MAX_MIB
    yield Outcome(AUDIT, "all in one process", within, ended.figure)
