"""Output never vanishes: odd terminals, full disks, closed pipes, old encodings, signals."""

from __future__ import annotations

import json
import os
import pty
import re
import signal
import subprocess
import sys
import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from tests.conftest import small_manifest, unless_thorough
from tltool.cli.terminal.console import print_table
from tltool.errors import UsageError
from tltool.runs.manifest import write_manifest

TLTOOL = [sys.executable, "-m", "tltool"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("folder")
    run = root / "runs" / "köttbullar"
    run.mkdir(parents=True)
    write_manifest(run / "manifest.json", small_manifest())
    return root


def run(
    folder: Path, *arguments: str, stdout: Any = subprocess.PIPE, stderr: Any = None, **more: str
) -> subprocess.CompletedProcess[bytes]:
    inherited = {name: v for name, v in os.environ.items() if name != "PYTHONUNBUFFERED"}
    return subprocess.run(
        [*TLTOOL, *arguments],
        cwd=folder,
        env={**inherited, **more},
        stdout=stdout,
        stderr=subprocess.PIPE if stderr is None else stderr,
        timeout=60,
    )


# width ----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def wide(folder: Path) -> str:
    """The list of runs with room for all of it."""
    return run(folder, "runs", "list", COLUMNS="300").stdout.decode()


LIST = "import sys; sys.argv[1:] = ['runs', 'list']; from tltool.cli.main import run; run()"


@pytest.mark.parametrize("columns", ["0", "1", "5", "-3", "many", "", "00", "1e3"])
def test_no_width_leaves_out_what_was_printed(folder, wide, forked_cli, monkeypatch, columns):
    monkeypatch.setenv("COLUMNS", columns)
    text = forked_cli.run(LIST, cwd=folder).stdout
    assert (len(text.splitlines()) > len(wide.splitlines())) == (columns in ("1", "5"))
    assert sorted(re.sub(r"\s", "", text)) == sorted(re.sub(r"\s", "", wide))
    assert "köttbullar" in wide


def test_a_terminal_without_a_size_is_80_columns_wide(folder):
    ours, theirs = pty.openpty()  # 0 x 0, as under some build servers
    with subprocess.Popen([*TLTOOL, "runs", "list"], cwd=folder, stdout=theirs) as process:
        os.close(theirs)
        text = b""
        while chunk := _read(ours):
            text += chunk
    assert process.returncode == 0
    assert "köttbullar" in text.decode()
    plain = re.sub(r"\x1b\[[0-9;]*m", "", text.decode())
    assert max(map(len, plain.splitlines())) <= 80


def _read(descriptor: int) -> bytes:
    try:
        return os.read(descriptor, 65536)
    except OSError:  # Linux: the other end is closed
        return b""


CELLS = st.text("abcdefghij0123456789", max_size=12)


@settings(max_examples=60)
@given(
    st.integers(1, 4).flatmap(
        lambda n: st.tuples(
            st.lists(CELLS, min_size=n, max_size=n),
            st.lists(st.lists(CELLS, min_size=n, max_size=n), max_size=4),
        )
    ),
    st.integers(1, 40),
    st.booleans(),
)
def test_every_character_of_a_table_is_printed_at_every_width(table, width, whole):
    import io

    columns, rows = table
    file = io.StringIO()
    print_table(Console(file=file, width=width), columns, rows, whole_words=whole)
    expected = sorted("".join([*columns, *(cell for row in rows for cell in row)]))
    assert sorted(re.sub(r"\s", "", file.getvalue())) == expected


# places that cannot be written ----------------------------------------------------------------

RESULTS = [("runs", "list"), ("runs", "list", "--json"), ("--help",), ("recipes", "show", "vgg16")]
LOST = [(result, more) for result in RESULTS for more in ({}, {"PYTHONUNBUFFERED": "1"})]
needs_full = pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full")


@needs_full
@pytest.mark.parametrize(
    ("arguments", "variables"),
    unless_thorough(LOST, *(case for case in LOST if case[0] == ("runs", "list") or not case[1])),
)
def test_a_lost_result_is_one_sentence_and_exit_code_5(folder, arguments, variables):
    with Path("/dev/full").open("w") as full:
        result = run(folder, *arguments, stdout=full, **variables)
    assert result.returncode == 5
    lines = result.stderr.decode().splitlines()
    assert lines[0] == "error: the output cannot be written: No space left on device"
    assert len(lines) == 2


@needs_full
@pytest.mark.parametrize("more", [(), pytest.param(("--json",), marks=pytest.mark.thorough)])
def test_a_lost_message_does_not_change_the_exit_code(folder, more):
    arguments = ("runs", "show", "nope", *more)
    with Path("/dev/full").open("w") as full:
        assert run(folder, *arguments, stderr=full).returncode == 2
        assert run(folder, *arguments, stdout=full).returncode == 2
        assert run(folder, "runs", "list", stderr=full).stdout


def test_a_reader_that_has_exited_is_no_error(folder):
    ours, theirs = os.pipe()
    os.close(ours)
    with os.fdopen(theirs, "w") as broken:
        result = run(folder, "recipes", "show", "vgg16", "--resolved", stdout=broken)
        assert (result.returncode, result.stderr) == (0, b"")
        assert run(folder, "runs", "show", "nope", stderr=broken).returncode == 2


def test_a_verdict_does_not_depend_on_a_reader(folder):
    (folder / "wrong.yaml").write_text("train: {epochs: 3}")
    (folder / "right.yaml").write_text("base: quick")
    ours, theirs = os.pipe()
    os.close(ours)
    with os.fdopen(theirs, "w") as broken:
        for more in ((), ("--json",)):
            result = run(
                folder, "recipes", "validate", "right.yaml", "wrong.yaml", *more, stdout=broken
            )
            assert result.returncode == 2
            assert b"train.epochs" in result.stderr


@pytest.mark.parametrize("closed", [">&-", "2>&-", ">&- 2>&-", "<&- >&- 2>&-"])
def test_closed_streams(folder, closed):
    shell = f"{' '.join(TLTOOL)} runs show nope {closed}"
    assert subprocess.run(shell, shell=True, cwd=folder, timeout=60).returncode == 2


# encodings ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("variables", "encoding"),
    [
        ({"PYTHONIOENCODING": "cp1252"}, "cp1252"),
        pytest.param({"PYTHONIOENCODING": "ascii:strict"}, "ascii", marks=pytest.mark.thorough),
        ({"PYTHONIOENCODING": "ascii:ignore"}, "ascii"),
        pytest.param({"PYTHONIOENCODING": "latin-1"}, "latin-1", marks=pytest.mark.thorough),
        ({"PYTHONIOENCODING": "utf-16"}, "utf-16"),
        ({"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}, "ascii"),
    ],
)
def test_what_an_encoding_lacks_is_escaped_and_not_left_out(folder, variables, encoding):
    result = run(folder, "runs", "list", **variables)
    assert result.returncode == 0, result.stderr
    shown = "köttbullar".encode(encoding, "backslashreplace").decode(encoding)
    text = result.stdout.decode(encoding)
    assert shown in text or "k\\udcc3\\udcb6ttbullar" in text  # where names are bytes
    error = run(folder, "runs", "show", "köttbullar-gone", **variables)
    assert error.returncode == 2
    assert "ttbullar-gone" in error.stderr.decode(encoding)


SILENCED = """
import os, sys
from tltool.cli.terminal import native_logs, streams
streams.open_streams()
native_logs.own_process()
native_logs.silence_native_logs()
os.write(2, b"a line of a C++ library")
print("köttbullar", file=sys.stderr)
"""


@pytest.mark.parametrize("encoding", ["cp1252", "utf-8", "ascii"])
def test_messages_keep_the_encoding_of_the_terminal_after_tensorflow_is_silenced(encoding):
    child = subprocess.run(
        [sys.executable, "-c", SILENCED],
        env={**os.environ, "PYTHONIOENCODING": encoding},
        capture_output=True,
        timeout=60,
    )
    assert child.stderr == "köttbullar\n".encode(encoding, "backslashreplace")


@pytest.mark.parametrize(
    "variables", [{"NO_COLOR": "1"}, {"TERM": "dumb"}, {"TERM": ""}, {"TERM": "nonsense"}]
)
def test_plain_terminals_get_plain_text(folder, forked_cli, monkeypatch, variables):
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    text = forked_cli.run(LIST, cwd=folder).stdout
    assert "köttbullar" in text
    assert "\x1b" not in text


# signals --------------------------------------------------------------------------------------

WAITING = """
import signal, sys, time
signal.signal(signal.SIGINT, signal.default_int_handler)  # a job in the background ignores it
signal.signal(signal.SIGHUP, signal.SIG_DFL)  # and so do tests that were started by nohup
from tltool.cli import main
from tltool.cli.terminal.error_output import guarded

@main.app.command("wait")
@guarded
def wait(json: bool = False) -> None:
    print("waiting", flush=True)
    time.sleep(60)

sys.argv[0] = "tltool"
main.run()
"""
SIGNALS = [(signal.SIGTERM, 143), (signal.SIGHUP, 129), (signal.SIGINT, 130)]


@pytest.mark.parametrize(("sent", "code"), SIGNALS)
def test_a_signal_ends_a_command_with_its_own_exit_code(sent, code):
    with subprocess.Popen(
        [sys.executable, "-c", WAITING, "wait", "--json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as child:
        assert _first_line(child.stdout) == b"waiting\n"
        child.send_signal(sent)
        document, errors = child.communicate(timeout=30)
    assert child.returncode == code
    assert json.loads(document)["error"]["exit_code"] == code
    assert errors == b"error: interrupted\n"


def test_a_command_under_nohup_goes_on_when_the_terminal_closes():
    program = WAITING.replace("SIGHUP, signal.SIG_DFL", "SIGHUP, signal.SIG_IGN")
    with subprocess.Popen(
        [sys.executable, "-c", program, "wait"], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as child:
        assert _first_line(child.stdout) == b"waiting\n"
        child.send_signal(signal.SIGHUP)
        with pytest.raises(subprocess.TimeoutExpired):
            child.wait(timeout=1)
        child.send_signal(signal.SIGTERM)
        child.communicate(timeout=30)
    assert child.returncode == 143


def test_the_exit_code_does_not_depend_on_which_thread_sees_the_signal_first():
    slow = """
import os
read = os.read
def read_late(*arguments):
    came = read(*arguments)
    time.sleep(1)
    return came
os.read = read_late
"""
    with subprocess.Popen(
        [sys.executable, "-c", WAITING.replace("from tltool", f"{slow}from tltool", 1), "wait"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as child:
        assert _first_line(child.stdout) == b"waiting\n"
        child.send_signal(signal.SIGTERM)
        child.communicate(timeout=30)
    assert child.returncode == 143


def test_a_terminal_that_is_gone_does_not_change_the_exit_code():
    main, terminal = os.openpty()
    with subprocess.Popen(
        [sys.executable, "-c", WAITING, "wait"], stdout=terminal, stderr=terminal
    ) as child:
        os.close(terminal)
        assert os.read(main, 100).startswith(b"waiting")
        os.close(main)  # from now on every write to the terminal is an error
        child.send_signal(signal.SIGHUP)
        child.wait(timeout=30)
    assert child.returncode == 129


def _first_line(stream: IO[bytes] | None) -> bytes:
    assert stream is not None
    return stream.readline()


def test_the_environment_is_not_needed(folder):
    bare: Mapping[str, str] = {"PATH": os.environ["PATH"], "PYTHONPATH": str(Path.cwd())}
    child = subprocess.run([*TLTOOL, "runs", "list"], cwd=folder, env=bare, capture_output=True)
    assert child.returncode == 0, child.stderr


NOTEBOOK = """
import io, signal, sys, threading
sys.stdout, sys.stderr = io.StringIO(), io.StringIO()  # as a kernel replaces them
from tltool.cli.main import run
from tltool.errors import UsageError
for arguments in (["runs", "show", "nope"], ["recipes", "list"]):
    sys.argv = ["tltool", *arguments]
    try:
        run()
    except SystemExit as end:
        print("exit", end.code)
shown, messages = sys.stdout.getvalue(), sys.stderr.getvalue()
assert "exit 2" in shown and "exit 0" in shown and "vgg16" in shown, shown
assert "there is no run" in messages, messages
assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
assert threading.active_count() == 1
"""


def test_the_command_line_inside_a_notebook_leaves_its_process_alone():
    child = subprocess.run([sys.executable, "-c", NOTEBOOK], capture_output=True, timeout=60)
    assert child.returncode == 0, child.stderr


def test_a_traceback_shows_the_hint_too():
    error = UsageError("no such run", hint="tltool runs list names them")
    assert "hint: tltool runs list names them" in "".join(traceback.format_exception(error))
