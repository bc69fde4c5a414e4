"""Names that others wrote do nothing in the terminal, in JSON, in log.txt and in pages."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
from rich.console import Console

from tests.conftest import small_manifest
from tltool.cli.terminal.console import line, print_table
from tltool.errors import visible
from tltool.evaluation.report.render import page_template
from tltool.events import SilentObserver
from tltool.runs.log import LoggingObserver
from tltool.runs.manifest import write_manifest

NAMES = {
    "cat\x1b[2J": r"cat\x1b[2J",
    "cat\x9b31m": r"cat\x9b31m",
    "cat\rdog": r"cat\rdog",
    "cat\u202egnp.exe": r"cat\u202egnp.exe",
    "cat\u2028forged": r"cat\u2028forged",
    "c\u200bat": r"c\u200bat",
    "köttbullar 寿司\u3000नमस्\u200dते 👩\u200d🔬": "köttbullar 寿司\u3000नमस्\u200dते 👩\u200d🔬",
}


@pytest.mark.parametrize("name", NAMES)
def test_a_name_is_shown_as_what_it_is(name):
    screen = io.StringIO()
    console = Console(file=screen, width=200, markup=False, highlight=False)
    line(console, f"class {name}")
    print_table(console, ["class"], [[name]])
    assert screen.getvalue().split("\n") == [f"class {NAMES[name]}", "class", NAMES[name], ""]


@pytest.mark.parametrize("name", [name for name in NAMES if "\r" not in name])
def test_a_folder_of_any_name_is_listed(name, tltool, tmp_path):
    run = tmp_path / "runs" / name
    run.mkdir(parents=True)
    write_manifest(run / "manifest.json", small_manifest())
    listed = tltool("runs", "list", tmp_path / "runs")
    assert NAMES[name] in listed.stdout
    documents = tltool("runs", "list", tmp_path / "runs", "--json").stdout
    assert json.loads(documents)[0]["run"] == str(run)
    assert visible(documents, keep="\n") == documents


def test_a_message_is_one_line_of_the_log(tmp_path):
    log = LoggingObserver(tmp_path / "log.txt", SilentObserver())
    log.on_message("class cat\n2030-01-01T00:00:00Z info: forged \x1b[31m\u202e", level="warning")
    log.on_table("classes\u2028", ["name"], [["a\nb"]])
    lines = (tmp_path / "log.txt").read_text("utf-8").split("\n")
    assert [text[21:] for text in lines] == [
        r"warning: class cat\n2030-01-01T00:00:00Z info: forged \x1b[31m\u202e",
        r"classes\u2028: name",
        r"classes\u2028: a\nb",
        "",
    ]


@pytest.mark.parametrize("name", NAMES)
def test_a_page_shows_a_name_as_what_it_is(name):
    environment = page_template("report.html.j2", percent=str, number=str).environment
    page = environment.from_string("<p>{{ name }}</p>").render(name=f"<b>{name}")
    assert page == f"<p>&lt;b&gt;{NAMES[name]}</p>"


def test_a_message_about_a_file_escapes_its_name(tltool, tmp_path: Path):
    result = tltool("recipes", "validate", tmp_path / "no\x1b[31m\u202e.yaml")
    assert result.exit_code == 2
    assert r"no\x1b[31m\u202e.yaml" in result.stderr
    assert "\x1b" not in result.stderr and "\u202e" not in result.stderr
