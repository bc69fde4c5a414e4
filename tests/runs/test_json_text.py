"""JSON of names that are not UTF-8."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from tltool.runs.json_text import from_json, to_json

ANY = st.text(st.characters(exclude_categories=())) | st.from_regex(r"\\ud[89a-f][0-9a-f]{2}")
HALF = b"caf\xe9".decode("utf-8", "surrogateescape")


@given(
    st.recursive(ANY | st.integers() | st.none(), lambda s: st.lists(s) | st.dictionaries(ANY, s))
)
def test_every_document_comes_back_from_valid_utf8(document: object) -> None:
    for indent in (None, 2):
        text = to_json(document, indent=indent)
        assert from_json(text.encode("utf-8")) == document
        json.dumps(json.loads(text), ensure_ascii=False).encode("utf-8")  # no half of a pair in it


def test_a_byte_is_written_as_in_the_tables() -> None:
    assert json.loads(to_json({HALF: [HALF, 1]})) == {r"caf\udce9": [r"caf\udce9", 1]}
    assert json.loads(to_json("C:\\up")) == "C:\\up"
