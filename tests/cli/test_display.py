"""The display: neat lines without a terminal, a live one with it, nothing with --quiet."""

from __future__ import annotations

import io
import os
import pty
import re
import subprocess
import sys
from collections.abc import Callable

import pytest

from tltool.cli.terminal.console import line, out, print_table
from tltool.cli.terminal.progress import Display
from tltool.runs.duration import readable_duration
from tltool.runs.phase_speed import PhaseSpeed

STORY = """
import time
from tltool.cli.terminal.progress import Display
with Display(quiet={quiet}) as display:
    display.on_phase("audit", "photos")
    for number in range(1, 41):
        display.on_progress(number, 40)
        time.sleep(0.015)  # no speed is shown for half a second
    display.on_message("3 files [bold]cannot[/] be used", level="warning")
    display.on_table("Photos", ["class", "train"], [["it's [red]", "12"], ["小猫", "7"]])
    display.on_phase("head")
    for epoch in (1, 2):
        for step in range(1, 4):
            display.on_progress(step, 3, unit="steps")
            time.sleep({pause})
        display.on_epoch(epoch, 2, {{"loss": 0.5, "accuracy": 0.75, "val_loss": 0.25,
                                    "val_accuracy": 0.875, "images_per_second": 1234.5}})
"""
CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


def print_plainly(*, quiet: bool = False, **environment: str) -> str:
    done = subprocess.run(
        (sys.executable, "-c", STORY.format(quiet=quiet, pause=0)),
        capture_output=True,
        env={**os.environ, **environment},
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == b""
    return done.stderr.decode()


def print_in_a_terminal(**environment: str) -> str:
    reader, terminal = pty.openpty()
    process = subprocess.Popen(
        (sys.executable, "-c", STORY.format(quiet=False, pause=0.1)),
        stdout=terminal,
        stderr=terminal,
        env={**os.environ, "TERM": "xterm-256color", "COLUMNS": "80", **environment},
    )
    os.close(terminal)
    said = b""
    with os.fdopen(reader, "rb", buffering=0) as stream:
        try:
            while chunk := stream.read(4096):
                said += chunk
        except OSError:  # Linux says so when the other end is closed
            pass
    assert process.wait(timeout=60) == 0
    return said.decode()


def test_without_a_terminal_there_are_only_plain_lines():
    text = print_plainly()
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f]", text)
    lines = text.splitlines()
    assert "warning: 3 files [bold]cannot[/] be used" in lines
    assert "it's [red]     12" in lines
    assert "小猫            7" in lines
    assert re.search(r"^✓ audit +\d\.\d s +[\d.]+ images/s  photos$", text, re.MULTILINE)
    assert re.search(r"^ +2/2 +0.5000 +0.750 +0.2500 +0.875 +1,23\d$", text, re.MULTILINE)
    assert lines[-1].startswith("✓ head")


def test_colours_asked_for_do_not_make_a_file_a_terminal():
    assert "\x1b[?25l" not in print_plainly(FORCE_COLOR="1")


def test_a_terminal_without_unicode_gets_other_marks():
    text = print_plainly(PYTHONIOENCODING="ascii:backslashreplace")
    assert text.splitlines()[-1].startswith("+ head")


def test_quiet_says_nothing():
    assert print_plainly(quiet=True) == ""


def test_in_a_terminal_a_bar_moves_and_leaves_one_line_per_phase():
    said = print_in_a_terminal()
    assert "/40 images" in said
    assert "epoch 2/2, at most" in said
    assert said.rindex("\x1b[?25h") > said.rindex("\x1b[?25l")  # the cursor is back
    assert "\x1b[36m" in said
    final = CONTROL.sub("", said.replace("\r", "\n"))
    assert len(re.findall(r"^✓ ", final, re.MULTILINE)) == 2


def test_no_color_leaves_out_the_colours():
    said = print_in_a_terminal(NO_COLOR="1")
    assert not re.search(r"\x1b\[[0-9;]*(3[0-9]|38;5;\d+)m", said)


def test_a_dumb_terminal_gets_lines():
    assert "\x1b[?25l" not in print_in_a_terminal(TERM="dumb")


def test_a_phase_that_fails_is_marked(capsys):
    with pytest.raises(KeyError), Display() as display:
        display.on_phase("audit")
        raise KeyError
    assert capsys.readouterr().err.startswith("× audit")


@pytest.fixture
def screen(monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """Return a function that gives what ``draw(console)`` looks like at a width."""

    def look(draw: Callable[..., None], width: int) -> str:
        monkeypatch.setenv("COLUMNS", str(width))
        monkeypatch.setattr(sys, "stdout", io.StringIO())
        draw(out())
        return sys.stdout.getvalue()

    return look


def test_text_wraps_at_words_and_under_its_indent(screen):
    text = screen(lambda console: line(console, "one two three four five", indent=2), 12)
    assert text == "  one two\n  three four\n  five\n"


def test_a_path_longer_than_the_screen_is_not_broken(screen):
    path = "/photos/" + "long/" * 10
    assert screen(lambda console: line(console, f"see {path}"), 20) == f"see {path}\n"


def test_a_table_in_a_narrow_screen_folds_and_in_a_pipe_does_not(screen, monkeypatch, capsys):
    rows = [["a" * 60, "0.5"]]
    text = screen(lambda console: print_table(console, ["photo", "share"], rows), 40)
    assert max(map(len, text.splitlines())) <= 40
    monkeypatch.undo()
    monkeypatch.delenv("COLUMNS", raising=False)
    print_table(out(), ["photo", "share"], [["a" * 300, "0.5"]])
    assert f"{'a' * 300}    0.5" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.04, "0.0 s"),
        (9.94, "9.9 s"),
        (9.96, "10 s"),
        (59.6, "1 min 00 s"),
        (3599.7, "1 h 00 min"),
    ],
)
def test_lengths_of_time(seconds, text):
    assert readable_duration(seconds) == text


def test_the_time_left_is_that_of_the_speed_since_the_first_batch():
    speed = PhaseSpeed(0.0)
    speed.count(10, 110, "images", 10.0)  # the first batch waits for the graph to be built
    speed.count(60, 110, "images", 15.0)
    assert speed.summary(15.0) == "60/110 images, 10.0/s, 5.0 s left"


def test_a_second_count_in_one_phase_adds_up():
    speed = PhaseSpeed(0.0)
    speed.count(40, 40, "images", 1.0)
    speed.count(10, 60, "images", 2.0)
    speed.count(60, 60, "images", 4.0)
    assert speed.rate(10.0) == "10.0 images/s"


def test_a_training_phase_tells_its_epochs():
    speed = PhaseSpeed(0.0)
    speed.count(3, 8, "steps", 1.0)
    assert speed.summary(1.0) == "step 3/8"
    speed.epoch_ended(2, 10, 8.0)
    speed.count(1, 8, "steps", 8.5)
    assert speed.summary(8.5) == "epoch 3/10, at most 1 min 04 s left"
    assert speed.rate(9.0) == ""
