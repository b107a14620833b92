"""The fused step: taken where it can be, and then it changes nothing but time and memory."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from conftest import needs_native
from optim_cases import LAYERS, assert_same_bits, backward, make_net, train, weights
from torch import Tensor, nn

import ortho_kernels as ok
import ortho_optim
from ortho_optim import Muon, OrthogonalSGD

pytestmark = needs_native

Make = Callable[..., Any]


def sgd(model: nn.Module, **options: Any) -> Any:
    return OrthogonalSGD(model, **{"lr": 0.01, "momentum": 0.9} | options)


def muon(model: nn.Module, **options: Any) -> Any:
    params = [p for p in model.parameters() if p.ndim >= 2]
    return Muon(params, **{"lr": 0.01} | options)


MAKERS: dict[str, tuple[Make, dict[str, Any]]] = {
    "sgd": (sgd, {"momentum": 0.0}),
    "momentum": (sgd, {"weight_decay": 1e-2}),
    "dampening": (sgd, {"dampening": 0.3, "maximize": True}),
    "nesterov": (sgd, {"nesterov": True, "weight_decay": 1e-2, "decay": "decoupled"}),
    "scale": (sgd, {"scale": "spectral", "method": "newton"}),
    "heads": (sgd, {"view": {"grouped.*": ok.heads(2), "head.*": ok.heads(3)}}),
    "update": (sgd, {"placement": "update", "weight_decay": 1e-2, "nesterov": True}),
    "muon": (muon, {}),
    "muon plain": (muon, {"nesterov": False, "scale": "match_rms_adamw", "maximize": True}),
    "muon gradient": (muon, {"placement": "gradient", "method": "exact"}),
}


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many weights each call of the fused step took."""
    seen: list[int] = []
    original = ok.orthogonal_step_

    def counted(params: list[Tensor], *args: Any, **kwargs: Any) -> None:
        seen.append(len(params))
        original(params, *args, **kwargs)

    monkeypatch.setattr(ok, "orthogonal_step_", counted)
    return seen


def unfused(optimizer: Any) -> Any:
    optimizer._fuses = False
    return optimizer


@pytest.mark.parametrize("name", MAKERS)
def test_fused_equals_unfused(calls: list[int], name: str) -> None:
    """Twenty steps in float64: to a few hundred roundings.

    Methods that run in float32 see inputs which differ by float64's rounding as the same number or,
    rarely, as the next one; keller_jordan magnifies that by 3.4445 a step at most.
    """
    make, options = MAKERS[name]
    fused, plain = make_net(), make_net()
    optimizer, other = make(fused, **options), unfused(make(plain, **options))
    train(fused, optimizer, range(20))
    assert len(calls) == 20
    assert all(calls)
    calls.clear()
    train(plain, other, range(20))
    assert not calls
    method = optimizer._settings.make_factors.polar["method"]
    in_float32 = 20 * 0.01 * 3.4445**5 * torch.finfo(torch.float32).eps
    bound = 1e-8 if method == "exact" else in_float32
    for key, value in weights(plain).items():
        assert (weights(fused)[key] - value).norm() <= bound * value.norm().clamp_min(1.0)
    # The state has the same names, shapes and values, so checkpoints go both ways.
    states = optimizer.state_dict()["state"], other.state_dict()["state"]
    assert states[0].keys() == states[1].keys()
    for index, state in states[1].items():
        assert states[0][index].keys() == state.keys()
        for key, value in state.items():
            if isinstance(value, Tensor):
                torch.testing.assert_close(states[0][index][key], value, rtol=bound, atol=bound)


def test_checkpoints_go_both_ways() -> None:
    model, other = make_net(), make_net()
    optimizer, plain = sgd(model), unfused(sgd(other))
    train(model, optimizer, range(3))
    other.load_state_dict(copy.deepcopy(model.state_dict()))
    plain.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    train(model, optimizer, range(3, 6))
    train(other, plain, range(3, 6))
    for key, value in weights(model).items():
        torch.testing.assert_close(weights(other)[key], value, rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize(
    "options",
    [
        {"clip": "orthogonalized", "max_norm": 1.0},
        {"lr_in_momentum": True},
        {"normalize": "row"},
        {"method": "svd"},
        {"backend": "eager"},
        {"lr": torch.tensor(0.01), "foreach": True},
    ],
    ids=lambda options: next(iter(options)),
)
def test_what_forbids_it(calls: list[int], options: dict[str, Any]) -> None:
    model = make_net()
    before = weights(model)
    train(model, sgd(model, **options), range(1))
    assert not calls
    assert not torch.equal(weights(model)["conv.weight"], before["conv.weight"])


def test_one_view_of_its_own_goes_the_long_way(calls: list[int]) -> None:
    model, other = make_net(), make_net()
    options = {"view": {"up.*": ortho_optim.transposed(), "conv.*": lambda x: x.flatten(1)}}
    train(model, sgd(model, **options), range(5))
    assert calls == [len(LAYERS) - 2] * 5
    train(other, unfused(sgd(other, **options)), range(5))
    for key, value in weights(other).items():
        torch.testing.assert_close(weights(model)[key], value, rtol=1e-8, atol=1e-10)


def test_a_step_of_the_users_own_is_kept(calls: list[int]) -> None:
    class Half(torch.optim.SGD):
        def step(self, closure: Any = None) -> Any:
            for group in self.param_groups:
                for param in group["params"]:
                    if param.grad is not None:
                        param.add_(param.grad, alpha=-0.5 * group["lr"])

    model = make_net()
    train(model, ortho_optim.orthogonalize(Half)(model, lr=0.1), range(1))
    assert not calls


@pytest.mark.parametrize("make", [sgd, muon])
@pytest.mark.parametrize("poison", [float("nan"), float("inf")])
def test_nonfinite_is_seen_before_anything_is_written(
    calls: list[int], make: Make, poison: float
) -> None:
    model = make_net()
    optimizer = make(model)
    train(model, optimizer, range(2))
    calls.clear()
    before, state = weights(model), copy.deepcopy(optimizer.state_dict())
    optimizer.zero_grad()
    backward(model, 2)
    model.head.weight.grad[0, 0] = poison
    with pytest.raises(RuntimeError, match="gradients must be finite"):
        optimizer.step()
    assert not calls
    assert_same_bits(weights(model), before)
    for index, one in optimizer.state_dict()["state"].items():
        assert torch.equal(one["momentum_buffer"], state["state"][index]["momentum_buffer"])


@pytest.mark.parametrize("make", [sgd, muon])
@pytest.mark.parametrize("policy", ["skip", "zero"])
def test_nonfinite_policies(calls: list[int], make: Make, policy: str) -> None:
    """One bad layer leaves every other layer's update as it is, to the bit."""
    results = []
    for poison in (None, float("nan")):
        model = make_net()
        optimizer = make(model, nonfinite=policy)
        train(model, optimizer, range(2))
        before = weights(model)
        optimizer.zero_grad()
        backward(model, 2)
        if poison is not None:
            model.head.weight.grad[0, 0] = poison
        optimizer.step()
        results.append(weights(model))
    assert_same_bits(results[0], results[1], but=["head.weight"])
    assert torch.isfinite(results[1]["head.weight"]).all()
    assert torch.equal(results[1]["head.weight"], before["head.weight"]) == (policy == "skip")
    assert sum(optimizer.skipped.values()) == 1
    assert calls


def test_raw_gradients_are_kept_and_hooks_see_them(calls: list[int]) -> None:
    model = make_net()
    optimizer = sgd(model)
    seen: list[bool] = []
    backward(model, 0)
    raw = {name: (p.grad, p.grad.clone()) for name, p in model.named_parameters()}

    def look(*_: Any) -> None:
        seen.append(all(p.grad is raw[name][0] for name, p in model.named_parameters()))

    optimizer.register_step_pre_hook(look)
    optimizer.register_step_post_hook(look)
    optimizer.step()
    assert calls == [len(LAYERS)]
    assert seen == [True, True]
    for name, p in model.named_parameters():
        assert p.grad is raw[name][0]
        assert torch.equal(p.grad, raw[name][1])


def test_weights_between_each_other_go_the_long_way(calls: list[int]) -> None:
    """Columns of one matrix: the op takes no two whose memory interleaves."""
    whole = torch.randn(6, 20)
    halves = [nn.Parameter(whole[:, :10]), nn.Parameter(whole[:, 10:])]
    alone = nn.Parameter(torch.randn(6, 10))
    before = [param.detach().clone() for param in (*halves, alone)]
    for param in (*halves, alone):
        param.grad = torch.randn(6, 10)
    OrthogonalSGD([*halves, alone], lr=0.1).step()
    assert calls == [1]
    for old, param in zip(before, (*halves, alone), strict=True):
        assert param.grad is not None
        torch.testing.assert_close(param.detach(), old - 0.1 * ok.polar(param.grad))
