"""benchmarks/gpu_check.py: its checks run with tiny networks, and none stops the others."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace

import pytest

from benchmarks.gpu_check import CHECKS, Report, main
from benchmarks.gpu_parts import Finding, at_least, at_most
from benchmarks.gpu_setup import SMALL, Setup, write_images

TINY = replace(SMALL, networks={"tiny_vgg": "tiny VGG"}, steps=1, images=6, rounds=1)
# many graphs, or what XLA compiles, or runs of the command line; the others run in make test
MARKS = {
    **dict.fromkeys(("augmentation", "waiting", "xla", "commands"), "weekly"),
    **dict.fromkeys(("determinism", "steps"), "thorough"),
}


@pytest.fixture(scope="module")
def setup(tmp_path_factory: pytest.TempPathFactory) -> Setup:
    """Tiny networks on the CPU, with six images."""
    folder = tmp_path_factory.mktemp("images")
    write_images(folder, TINY.images, side=TINY.side)
    return Setup(TINY, gpu=False, folder=folder)


def goals_of(findings: list[Finding]) -> dict[str, bool | None]:
    return {finding.what: finding.met for finding in findings if finding.goal == "yes"}


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=getattr(pytest.mark, MARKS.get(name, "slow")))
        for name in CHECKS
        if name != "devices"
    ],
)
def test_every_check_runs_with_tiny_networks(setup, name):
    report = Report(seconds=1e9)
    report.run(name, CHECKS[name][0], setup, needs=0)
    findings = [finding for _, finding in report.rows]
    assert not report.failed, findings
    assert len(findings) > 1
    assert all(goals_of(findings).values()), findings
    if name in ("numerics", "augmentation"):  # what does not depend on the machine's load
        assert all(finding.met is not False for finding in findings), findings


def test_a_check_that_fails_does_not_stop_the_others(setup, tmp_path):
    def broken(_: Setup) -> Iterator[Finding]:
        yield at_least("before", 1.0, 0.9)
        raise ValueError("two\nlines")

    report = Report(seconds=100, output=tmp_path / "findings.jsonl")
    report.run("broken", broken, setup, needs=0)
    report.run("long", CHECKS["memory"][0], setup, needs=101)
    report.run("devices", CHECKS["devices"][0], setup, needs=0)
    assert report.failed == ["broken"]
    table = report.table().splitlines()
    assert table[2:5] == [
        "| broken | before | 1  | ≥ 0.9 | yes |",
        "| broken | failed | ValueError: two lines  |  | **no** |",
        "| long | not run | less than 101 s are left  |  |  |",
    ]
    lines = (tmp_path / "findings.jsonl").read_text(encoding="utf-8").splitlines()
    checks = [json.loads(line)["check"] for line in lines]
    assert checks[:3] == ["broken", "broken", "long"]
    assert set(checks[3:]) == {"devices"}
    assert len(table) == 2 + len(lines)


@pytest.mark.parametrize(("value", "met"), [(0.05, True), (0.051, False), (float("nan"), False)])
def test_a_goal_is_met_up_to_its_bound(value, met):
    assert at_most("waiting", value, 0.05).met is met


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--small", "--only", "speed"], "no check is called speed; there are devices, steps"),
        ([], "TensorFlow finds no GPU; --small rehearses all checks on a CPU"),
    ],
)
def test_wrong_arguments_are_named(words, message, monkeypatch, capsys):
    monkeypatch.setattr("tensorflow.config.list_physical_devices", lambda _: [])
    with pytest.raises(SystemExit) as error:
        main(words)
    assert error.value.code == 2
    assert message in capsys.readouterr().err
