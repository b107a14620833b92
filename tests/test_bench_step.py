"""The fused step's bench: only steps that agree are timed, and the factors are taken off."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from conftest import needs_native

from bench import step
from bench.__main__ import main

pytestmark = needs_native
MOMENTUM = step.RULES["momentum"]


@pytest.mark.parametrize("rule", step.RULES)
@pytest.mark.parametrize("dtype", step.DTYPES)
def test_both_ways_come_to_the_same(dtype: str, rule: str) -> None:
    step.check(step.Case("basiccnn", step.DTYPES[dtype], step.RULES[rule]))


def test_a_step_that_differs_ends_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(step.Case, "kept", lambda self: None)
    case = step.Case("basiccnn", torch.float32, MOMENTUM)
    monkeypatch.setattr(step.ok, "orthogonal_step_", lambda *_, **__: None)
    with pytest.raises(SystemExit, match="the two ways differ"):
        step.check(case)


def test_every_turn_times_every_way() -> None:
    case = step.Case("basiccnn", torch.float32, MOMENTUM)
    times = step.measure(case, rounds=3)
    assert {way: len(seconds) for way, seconds in times.ways.items()} == dict.fromkeys(step.WAYS, 3)
    # No denormal numbers, which would be timed in place of the step.
    assert min(float(buffer.abs().max()) for buffer in case.buffers) > 1e-12


def test_factors_are_taken_off() -> None:
    times = step.Times({"fused": [5.0], "composed": [8.0], "kept": [7.0], "factors": [3.0]})
    assert times.alone("fused") == 2.0
    assert (times.ratio("composed"), times.ratio("kept")) == (0.4, 0.5)


def test_memory_is_beyond_what_factors_need() -> None:
    held = {"fused": 5 * 2**20, "composed": 9 * 2**20, "factors": 2**20}
    assert [step.mebibytes(held, way) for way in ("fused", "composed")] == ["4.0", "8.0"]
    assert step.mebibytes(None, "fused") == "-"


def test_the_table(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], threads: Any
) -> None:
    monkeypatch.setattr(step.process, "pin", lambda threads: None)
    monkeypatch.setattr(step, "memory", lambda *_: None)  # forks, which is not for a test's process
    before = torch.get_num_threads()
    try:
        assert main(["step", "--model", "basiccnn", "--rounds", "2"]) == 0
    finally:
        torch.set_num_threads(before)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split()[:4] == ["model", "rule", "fused", "ms"]
    assert [line.split()[:2] for line in lines[1:]] == [["basiccnn", rule] for rule in step.RULES]
