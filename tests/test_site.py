"""The hooks of the documentation site: links, formulas, other hosts."""

from __future__ import annotations

import importlib.util
import logging
from pathlib import Path
from types import SimpleNamespace

import pytest

DOCS = Path(__file__).resolve().parent.parent / "docs"


@pytest.fixture(scope="module")
def hooks():
    spec = importlib.util.spec_from_file_location("site_hooks", DOCS / "site_hooks.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def page(name: str, url: str = "") -> SimpleNamespace:
    return SimpleNamespace(file=SimpleNamespace(src_uri=name), url=url, meta={})


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("data.md", "[a](export.md#assets)", "[a](export.md#assets)"),
        ("data.md", "[a](../CHANGELOG.md)", "[a](develop/changelog.md)"),
        ("decisions/README.md", "[a\nb](../data.md#x)", "[a\nb](../data.md#x)"),
        (
            "decisions/README.md",
            "[a](../../benchmarks/RESULTS.md#x)",
            "[a](../develop/benchmarks.md#x)",
        ),
        ("develop/contributing.md", "[a](docs/glossary.md)", "[a](../glossary.md)"),
        ("develop/contributing.md", "[a](LICENSE)", "a"),
        ("recipes.md", "[the `schema`](../recipes/recipe.schema.json)", "the `schema`"),
        ("data.md", "[a](https://example.org/x.md)", "[a](https://example.org/x.md)"),
        ("data.md", "[a](#here)", "[a](#here)"),
        ("data.md", r"| `a\|b`, `c\|d` | e\|f |", r"| `a|b`, `c|d` | e\|f |"),
        ("data.md", "![a](images/report.png)", "![a](images/report.png)"),
    ],
)
def test_links_of_the_repository_lead_to_pages_of_the_site(hooks, name, text, expected):
    assert hooks.on_page_markdown(text, page=page(name)) == expected


def test_a_link_to_a_missing_file_is_a_warning(hooks, caplog):
    hooks.on_page_markdown("[a](../missing.md)", page=page("data.md"))
    assert "docs/data.md links to missing.md, which does not exist" in caplog.text


def test_formulas_become_mathml(hooks):
    content = '<p><span class="arithmatex">\\(x \\lt 1\\)</span></p>'
    inline = hooks.on_page_content(content)
    assert "<math" in inline
    assert "arithmatex" not in inline
    assert 'display="block"' in hooks.on_page_content('<div class="arithmatex">\\[x^2\\]</div>')


@pytest.mark.parametrize(
    "element",
    [
        '<script src="https://cdn.example/a.js"></script>',
        '<img alt="" src="//cdn.example/a.png">',
        '<link rel="stylesheet" href="https://fonts.example/css">',
    ],
)
def test_a_page_that_loads_from_another_host_is_a_warning(hooks, caplog, element):
    hooks.on_post_page(element, page=page("data.md", "data.html"))
    assert "data.md loads from another host" in caplog.text


def test_links_to_other_hosts_and_own_files_are_no_warning(hooks, caplog):
    caplog.set_level(logging.WARNING)
    body = '<a href="https://example.org">a</a><script src="../site/a.js"></script>'
    assert hooks.on_post_page(body, page=page("data.md", "data.html")) == body
    assert not caplog.records


def test_the_shim_of_the_search_is_a_file_of_the_site(hooks):
    body = '<script src="https://unpkg.com/iframe-worker/shim"></script>'
    output = hooks.on_post_page(body, page=page("a/b.md", "a/b.html"))
    assert output == '<script src="../site/iframe-worker.js"></script>'
    assert (DOCS / "site/iframe-worker.js").exists()
