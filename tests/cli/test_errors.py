"""What goes wrong becomes a sentence, a hint and an exit code, in one place."""

from __future__ import annotations

import errno
import json
import os
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from tltool.cli.terminal.error_output import guarded
from tltool.errors import (
    DataError,
    EnvironmentProblem,
    GateError,
    TltoolError,
    UsageError,
    did_you_mean,
)


def run(error: BaseException, *flags: str) -> Any:
    app = typer.Typer(pretty_exceptions_enable=False)

    @app.command()
    @guarded
    def fails(json: bool = False, debug: bool = False) -> None:
        raise error

    return CliRunner().invoke(app, flags)


@pytest.mark.parametrize(
    ("kind", "code"), [(UsageError, 2), (DataError, 3), (GateError, 4), (EnvironmentProblem, 5)]
)
def test_an_error_on_purpose_is_a_sentence_a_hint_and_its_own_exit_code(kind, code):
    result = run(kind("the [bold]images[/] are :gone:", hint="look\n  elsewhere"))
    assert result.exit_code == code
    assert result.stderr == ("error: the [bold]images[/] are :gone:\nhint: look\n  elsewhere\n")
    assert result.stdout == ""


def test_an_error_without_a_hint_has_no_empty_one():
    assert run(DataError("gone")).stderr == "error: gone\n"


def test_a_bug_is_called_one_and_not_dressed_up():
    result = run(ValueError("operands could not be broadcast\nmore"))
    assert result.exit_code == 1
    assert "internal error: ValueError: operands could not be broadcast" in result.stderr
    assert "--debug" in result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize("error", [ValueError("x"), DataError("y"), KeyboardInterrupt()])
def test_debug_shows_the_traceback(error):
    assert "Traceback (most recent call last)" in run(error, "--debug").stderr


def test_ctrl_c_is_exit_code_130():
    result = run(KeyboardInterrupt())
    assert result.exit_code == 130
    assert result.stderr == "error: interrupted\n"


def caused(error: BaseException, cause: BaseException) -> BaseException:
    error.__cause__ = cause
    return error


NO_SPACE = os.strerror(errno.ENOSPC)


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, NO_SPACE, "run/model.keras"),
        OSError(errno.EDQUOT, os.strerror(errno.EDQUOT)),
        OSError(f"[Errno 28] Can't write data (error message = '{NO_SPACE}')"),
        caused(RuntimeError("saving failed"), OSError(errno.ENOSPC, NO_SPACE)),
    ],
)
def test_a_full_disk_is_exit_code_5(error):
    result = run(error)
    assert result.exit_code == 5
    assert "the disk" in result.stderr
    assert "is full (" in result.stderr


def test_a_full_memory_is_exit_code_5_and_names_a_way_out():
    result = run(MemoryError("cannot allocate 40 GB"))
    assert result.exit_code == 5
    assert "train.batch_size" in result.stderr


def test_words_about_space_in_a_bug_do_not_make_it_a_full_disk():
    assert run(ValueError(NO_SPACE)).exit_code == 1


def test_with_json_an_error_is_the_document():
    result = run(DataError("gone", hint="look"), "--json")
    document = {"error": {"message": "gone", "hint": "look", "exit_code": 3}}
    assert json.loads(result.stdout) == document
    assert result.stderr.startswith("error: gone")


def test_a_reader_that_has_gone_is_no_error():
    result = run(BrokenPipeError())
    assert result.exit_code == 0
    assert result.output == ""


def test_a_name_with_control_characters_cannot_reach_the_terminal():
    text = run(TltoolError("no image '\x1b[2Jgone\x07.jpg'")).stderr
    assert "\x1b" not in text
    assert "\x07" not in text


@pytest.mark.parametrize(
    ("word", "known"),
    [("ONNX", "onnx"), ("saved-model", "saved_model"), ("Grad-Cam", "grad-cam"), ("vgg", "VGG")],
)
def test_a_suggestion_does_not_depend_on_capital_letters(word, known):
    assert did_you_mean(word, ["keras", known, "other"]) == f" Did you mean '{known}'?"
