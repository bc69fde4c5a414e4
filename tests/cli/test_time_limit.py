"""`--time-limit`: what it cannot limit, and what is no length of time."""

from __future__ import annotations

import pytest


@pytest.mark.parametrize(
    ("command", "options", "message"),
    [
        (["finetune"], ["--time-limit", "30"], "--time-limit 30: expected a time such as 90s"),
        (["recipes", "run", "quick"], ["--time-limit", "0m"], "--time-limit 0m: expected a time"),
        (["finetune"], ["--time-limit", "5m", "--kfold", "2"], "--time-limit ends one training"),
        (["finetune"], ["--time-limit", "5m", "--find-lr"], "--find-lr keeps nothing"),
    ],
)
def test_time_limits_that_cannot_work(tltool, the_error, tmp_path, command, options, message):
    result = tltool(*command, tmp_path, *options)
    assert result.exit_code == 2
    assert message in the_error(result)
