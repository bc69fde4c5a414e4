"""Lengths of time as people write them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tltool.errors import UsageError
from tltool.runs.duration import format_duration, parse_duration


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90s", 90), ("30m", 1800), ("1h30m", 5400), ("2h", 7200), ("1h1m1s", 3661), (" 5M ", 300),
     ("1.5h", 5400)],
)  # fmt: skip
def test_the_usual_forms_are_read(text, seconds):
    assert parse_duration(text, option="--time-limit") == seconds


@pytest.mark.parametrize(
    "text", ["", "30", "m", "0s", "0h0m", "-5m", "30m1h", "1h 30m", "30 min", "²m", "1,5h", "1e3s"],
)  # fmt: skip
def test_anything_else_is_one_sentence(text):
    with pytest.raises(UsageError, match=r"--time-limit .*: expected a time such as 90s, 30m"):
        parse_duration(text, option="--time-limit")


@pytest.mark.parametrize("text", ["8785h", "366h999999m", "31622401s", "9" * 400 + "h"])
def test_more_than_a_year_is_refused(text):
    assert parse_duration("8784h", option="--time-limit") == 366 * 24 * 3600
    with pytest.raises(UsageError, match=r"^--time-limit \d+[hms].*: the longest time is a year"):
        parse_duration(text, option="--time-limit")


@given(st.integers(min_value=1, max_value=10**7))
def test_what_is_printed_is_read_again(seconds):
    assert parse_duration(format_duration(seconds), option="-") == seconds
