"""Hooks of the documentation site: pages from outside docs/, formulas as MathML, no other hosts.

MkDocs reads only docs/. The pages of ``PAGES`` stay where a reader of the repository expects them
and are added to the site. A link to another file of the repository becomes plain text, because the
site does not contain that file. Formulas become MathML when the site is built, so that a page needs
neither a script nor a font from another host.
"""

from __future__ import annotations

import html
import logging
import posixpath
import re
from pathlib import Path
from typing import Any

from latex2mathml.converter import convert
from mkdocs.structure.files import File
from mkdocs.utils import get_relative_url

ROOT = Path(__file__).resolve().parent.parent
PAGES = {  # file of the repository -> page of the site
    "CHANGELOG.md": "develop/changelog.md",
    "CODE_OF_CONDUCT.md": "develop/code-of-conduct.md",
    "CONTRIBUTING.md": "develop/contributing.md",
    "benchmarks/RESULTS.md": "develop/benchmarks.md",
}
_SOURCES = {page: source for source, page in PAGES.items()}
_LINK = re.compile(
    r"(?P<text>!?\[(?:[^\[\]]|\[[^\]]*\])*\])\((?P<path>[^)#\s:]+)(?P<anchor>#[^)\s]*)?\)"
)
_FORMULA = re.compile(
    r'<(?P<tag>span|div) class="arithmatex">\\[(\[](?P<latex>.*?)\\[)\]]</(?P=tag)>', re.DOTALL
)
_OTHER_HOST = re.compile(r'<(?:script|img|iframe|link)\b[^>]*\b(?:src|href)="(?:https?:)?//[^"]*"')
_ROW = re.compile(r"^\|.*", re.MULTILINE)
_CODE = re.compile(r"`[^`]*`")
_SHIM = "https://unpkg.com/iframe-worker/shim"  # by mkdocs-material, for pages opened as files
log = logging.getLogger("mkdocs.hooks.site")


def on_files(files: Any, config: Any) -> Any:
    """Add the pages from outside docs/."""
    for source, page in PAGES.items():
        files.append(File.generated(config, page, abs_src_path=str(ROOT / source)))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    r"""Point links of the repository to pages of the site; write bars in code as MkDocs reads them.

    In a table, a bar in code is ``\|`` for other readers of Markdown, and ``|`` for MkDocs.
    """
    source = _SOURCES.get(page.file.src_uri, f"docs/{page.file.src_uri}")
    if source in PAGES:  # long pages of figures and lines: last among the results of the search
        page.meta["search"] = {"boost": 0.1}
    markdown = _LINK.sub(lambda link: _link_of_the_site(link, source, page.file.src_uri), markdown)
    return _ROW.sub(_bars_in_code, markdown)


def _bars_in_code(row: re.Match[str]) -> str:
    return _CODE.sub(lambda code: code[0].replace(r"\|", "|"), row[0])


def _link_of_the_site(link: re.Match[str], source: str, page: str) -> str:
    target = posixpath.normpath(posixpath.join(posixpath.dirname(source), link["path"]))
    inside = PAGES.get(target, target.removeprefix("docs/"))
    if inside == target:  # not a page
        if not (ROOT / target).exists():
            log.warning("%s links to %s, which does not exist", source, target)
        return link["text"].lstrip("!")[1:-1]
    path = posixpath.relpath(inside, posixpath.dirname(page) or ".")
    return f"{link['text']}({path}{link['anchor'] or ''})"


def on_page_content(content: str, **_: Any) -> str:
    """Replace formulas in LaTeX by MathML."""
    return _FORMULA.sub(_mathml, content)


def _mathml(formula: re.Match[str]) -> str:
    display = "block" if formula["tag"] == "div" else "inline"
    formula_in_mathml = convert(html.unescape(formula["latex"]), display=display)
    return f'<{formula["tag"]} class="formula">{formula_in_mathml}</{formula["tag"]}>'


def on_post_page(output: str, page: Any, **_: Any) -> str:
    """Load the search shim from the site; warn if a page loads anything from another host."""
    output = output.replace(_SHIM, get_relative_url("site/iframe-worker.js", page.url))
    for element in _OTHER_HOST.findall(output):
        log.warning("%s loads from another host: %s", page.file.src_uri, element)
    return output
