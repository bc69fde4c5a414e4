"""Fail when code or documentation uses words that a reader of the field would not understand.

``python docs/words.py`` reads every file of the repository that git knows, prints each line with
such a word and the word to use instead, and exits 1 if there is one. Names are searched in code,
phrases in docstrings, comments, messages and pages.
"""

from __future__ import annotations

import io
import re
import subprocess
import sys
import tokenize
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
# word -> the standard one
PHRASES = {
    r"told": "said, printed, reported",
    r"tells?\b(?! (?:Keras|TensorFlow|pytest|git|uv))": "says, reports, shows",
    r"in vain": "unused, without effect",
    r"anything but": "not, other than",
    r"made of": "consists of, computed from",
    r"each another": "each a different",
    r"to the bit": "bit-identical",
    r"named right": "classified correctly",
    r"for sure": "with a confidence level",
    r"(?:training|validation|test|all|these|many|few|other|new|labelled) photos?": "images",
}
NAMES = {
    "told": "summary, message, describe_…",
    "tells": "reports, has",
    "torn": "leakage",
    "lay": "export, write",
    "fitness": "rank_augmentations",
    "likeness": "similarity",
    "suspects": "label_errors",
    "suspect": "label_error",
    "begun": "started",
    "contenders": "runs",
}
OLD_NAMES = {  # names that a reader of the field could not guess
    *("Astray", "Contender", "Divided", "Learned", "Learning", "Likeness", "Looked", "Looking"),
    *("PassStore", "Passes", "Pooled", "Pooler", "Sometimes", "Torn", "Trust", "Fitness"),
    *("AS_THE_PROBE", "begin_as_the_probe", "conclude", "endings_explained", "find_given"),
    *("find_torn", "heats", "learned_from", "lay_out", "made_of", "of_photos", "open_looking"),
    *("one_by_one", "open_photos", "settled", "sought_copies", "thaw_epochs"),
    *("tell_copies", "tell_probe", "tell_worse_than_probe", "tells_unknown", "units_of"),
}
ALLOWED = {  # files that name the words themselves, or whose text is not ours
    "docs/words.py",
    "LICENSE",
}
_PROSE = re.compile("|".join(rf"\b(?:{phrase})\b" for phrase in PHRASES), re.IGNORECASE)


def main() -> int:
    """Print every line with such a word; return the exit code."""
    listed = subprocess.run(
        ["git", "ls-files", "*.py", "*.md", "*.j2", "*.yaml", "*.html", "*.toml", "Makefile"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    count = 0
    for name in sorted(set(listed.stdout.splitlines()) - ALLOWED):
        for number, word, instead in _findings(ROOT / name):
            sys.stderr.write(f"{name}:{number}: '{word}'; better: {instead}\n")
            count += 1
    return 1 if count else 0


def _findings(path: Path) -> Iterator[tuple[int, str, str]]:
    """Yield line number, word and better word of everything in a file."""
    text = path.read_text(encoding="utf-8")
    if path.suffix != ".py":
        for number, line in enumerate(text.splitlines(), 1):
            yield from _in_prose(line, number)
        return
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        number = token.start[0]
        if token.type == tokenize.NAME:
            yield from _in_name(token.string, number)
        elif token.type in (tokenize.STRING, tokenize.COMMENT):
            for offset, line in enumerate(token.string.splitlines()):
                yield from _in_prose(line, number + offset)


def _in_prose(line: str, number: int) -> Iterator[tuple[int, str, str]]:
    for match in _PROSE.finditer(line):
        word = match[0]
        yield number, word, next(b for a, b in PHRASES.items() if re.fullmatch(a, word, re.I))


def _in_name(name: str, number: int) -> Iterator[tuple[int, str, str]]:
    if name in OLD_NAMES:
        yield number, name, "the standard term, see docs/glossary.md"
    for part in name.lower().split("_"):
        if part in NAMES and not name.startswith("test_"):
            yield number, name, NAMES[part]


if __name__ == "__main__":
    sys.exit(main())
