"""`python -m bench muon`: steps are checked before they are timed, and what is left out is said."""

from __future__ import annotations

import json
from argparse import ArgumentParser, Namespace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import ortho_optim
from bench import muon, muon_report, muon_steps
from bench.__main__ import main
from bench.muon_steps import Stepper, Way, starts
from bench.peers import torch_muon
from bench.truth import Truth

SHAPES = [(6, 20), (12, 3, 2, 2), (9, 9), (30, 11)]
WAYS = {way.name: way for way in muon_steps.ways()}
OURS, OURS_BF16, THEIRS_F32, THEIRS = WAYS


def options(*words: str) -> Namespace:
    parser = ArgumentParser()
    muon.add_arguments(parser)
    return parser.parse_args(words)


def truths() -> list[Truth]:
    return [Truth(start.direction) for start in starts(SHAPES)]


@pytest.mark.parametrize("name", WAYS)
def test_everyone_takes_the_step_of_muon(name: str) -> None:
    there = starts(SHAPES)
    stepper = Stepper(WAYS[name], there)
    stepper.step()
    assert stepper.broken(truths()) == ""
    for param, start in zip(stepper.params, there, strict=True):
        assert param.grad is not None
        assert torch.equal(param.grad.flatten(), start.gradient.flatten())
        wanted = start.momentum.lerp(start.gradient, 0.05).flatten()
        buffer = stepper.optimizer.state[param]["momentum_buffer"].flatten()
        torch.testing.assert_close(buffer, wanted)


def test_steppers_share_no_weight_and_no_momentum() -> None:
    there = starts(SHAPES)
    before = [start.weight.clone() for start in there]
    buffers = [start.momentum.clone() for start in there]
    for way in WAYS.values():
        Stepper(way, there).step()
    for start, weight, buffer in zip(there, before, buffers, strict=True):
        assert torch.equal(start.weight, weight)
        assert torch.equal(start.momentum, buffer)


def test_the_steps_that_are_compared_are_within_both_bounds_of_each_other() -> None:
    steps = {}
    for name, way in WAYS.items():
        stepper = Stepper(way, starts(SHAPES))
        steps[name] = [p.detach().flatten(1) for p in stepper.step()]
    for i, start in enumerate(starts(SHAPES)):
        size = float((steps[OURS][i] - 0.998 * start.weight.flatten(1)).norm())
        condition = Truth(start.direction).full_condition
        for name in (OURS_BF16, THEIRS_F32, THEIRS):
            apart = float((steps[name][i] - steps[OURS][i]).norm()) / size
            assert apart < sum(WAYS[one].promise.bound(condition) for one in (name, OURS)), name
            assert name == THEIRS_F32 or apart > 1e-4, f"{name} is not in bfloat16"


WRONG: dict[str, dict[str, Any]] = {
    "no decay": {"weight_decay": 0.0},
    "another momentum": {"momentum": 0.5},
    "no nesterov": {"nesterov": False},
    "another rate": {"lr": 0.021},
    "no scale": {"scale": "none"},
    "another polynomial": {"method": "polar_express"},
    "one step less": {"steps": 4},
}


@pytest.mark.parametrize("change", WRONG.values(), ids=WRONG)
def test_a_step_that_is_wrong_anywhere_is_found(change: dict[str, Any]) -> None:
    def make(params: list[nn.Parameter]) -> torch.optim.Optimizer:
        return ortho_optim.Muon(params, **({"lr": muon_steps.LR} | change))

    stepper = Stepper(Way("wrong", make, muon_steps.FLOAT32), starts(SHAPES))
    stepper.step()
    assert stepper.broken(truths()).startswith("error ")


def test_torchs_polynomial_is_put_back_also_after_an_error() -> None:
    module = muon_steps.torch_module
    own = module._zeropower_via_newtonschulz
    seen: list[Tensor] = []

    def fails(grad: Tensor) -> Tensor:
        seen.append(grad)
        raise ZeroDivisionError

    way = Way("fails", WAYS[THEIRS].make, muon_steps.FLOAT32, flat=True, factor=fails)
    with pytest.raises(ZeroDivisionError):
        Stepper(way, starts(SHAPES)).step()
    assert module._zeropower_via_newtonschulz is own
    assert seen[0].dtype == torch.float32


def test_the_polynomial_in_float32_is_one_for_matrices_and_stacks() -> None:
    for shape in ((5, 8), (8, 5)):
        stack = torch.randn(3, *shape)
        one_by_one = torch.stack([torch_muon.in_float32(x) for x in stack])
        torch.testing.assert_close(torch_muon.in_float32(stack), one_by_one)
        torch.testing.assert_close(
            one_by_one[0], torch_muon.own(stack[0]).float(), rtol=0, atol=0.1
        )


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(muon_steps.shapes, "weights", lambda model: SHAPES)


def statuses(found: dict[str, Any]) -> dict[str, str]:
    (model,) = found["models"]
    return {one["name"]: one["status"] for one in model["results"]}


def measure(*words: str) -> dict[str, Any]:
    before = torch.get_num_threads()
    try:
        (found,) = muon_steps.measure(["small"], options(*words))
        return found
    finally:
        torch.set_num_threads(before)


def test_the_record_and_the_table(small: None) -> None:
    found = measure("--rounds", "2")
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    assert statuses(found) == dict.fromkeys(WAYS, "timed")
    (model,) = found["models"]
    assert (model["weights"], model["numbers"]) == (4, 6 * 20 + 144 + 81 + 330)
    for one in model["results"]:
        assert 0 < one["ms"]["q1"] <= one["ms"]["median"] <= one["ms"]["q3"]
    told = muon_report.text(found)
    ratio = model["results"][3]["ms"]["median"] / model["results"][0]["ms"]["median"]
    row = next(line for line in told.splitlines() if "`torch.optim.Muon`" in line)
    assert float(row.split("|")[-2]) == pytest.approx(ratio, rel=1e-2)
    assert not muon_report.any_wrong(found)


def test_whoever_takes_too_long_is_left_out_or_not_repeated(small: None) -> None:
    out = measure("--patience", "0")
    assert set(statuses(out).values()) == {"left out"}
    assert "est. " in muon_report.text(out)
    once = measure("--limit", "0")
    assert set(statuses(once).values()) == {"once"}
    assert "~ " in muon_report.text(once)


def test_an_estimate_goes_by_operations(monkeypatch: pytest.MonkeyPatch) -> None:
    """From the cheapest weight: 2 x 3 has 40 a step here, 4 x 3 the 4 m^2 n + 2 m^3 of 3 x 4."""
    stepped: list[int] = []

    class Fake:
        def __init__(self, way: Way, given: Any) -> None:
            stepped.append(given[0].weight.numel())

        def step(self) -> None:
            pass

    class Second:
        def span(self) -> Namespace:
            return Namespace(cpu=1.0)

    monkeypatch.setattr(muon_steps, "Stepper", Fake)
    monkeypatch.setattr(muon_steps.timing, "Watch", Second)
    there = starts([(4, 3), (2, 3)])
    seconds = muon_steps.estimate(WAYS[OURS], there, "cpu")
    assert stepped == [6]
    assert seconds == pytest.approx(1 + (4 * 9 * 4 + 2 * 27) / (4 * 4 * 3 + 2 * 8))


def test_a_wrong_step_is_not_timed_and_is_an_error(
    small: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: Any, threads: Any
) -> None:
    bad = Way("bad", lambda params: torch.optim.SGD(params, lr=0.1), muon_steps.FLOAT32)
    monkeypatch.setattr(muon_steps, "ways", lambda: [WAYS[OURS], bad])
    monkeypatch.setattr(muon.process, "pin", lambda threads: None)
    before = torch.get_num_threads()
    path = tmp_path / "there" / "it.json"
    try:
        words = ["muon", "--model", "basiccnn", "--rounds", "1", "--out", str(path)]
        assert main(words) == 1
    finally:
        torch.set_num_threads(before)
    assert "wrong: error" in capsys.readouterr().out
    assert statuses(json.loads(path.read_text())) == {OURS: "timed", "bad": "wrong"}
