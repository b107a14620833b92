"""Momentum first: `placement="update"`, and Muon against torch.optim.Muon."""

from __future__ import annotations

import math
import warnings

import optim_cases as cases
import pytest
import torch
from conftest import polynomial_bound
from torch import nn

import ortho_kernels as ok
from ortho_optim import Muon, OrthogonalSGD

SHAPES = [(12, 8), (6, 20), (9, 9)]


def make_params(dtype, shapes=SHAPES):
    return [nn.Parameter(cases.planted(s, 7, torch.float64).to(dtype, copy=True)) for s in shapes]


def gradients(step, dtype, shapes=SHAPES):
    return [cases.planted(s, 100 * step + i).to(dtype) for i, s in enumerate(shapes)]


def run(optimizer, params, dtype, steps=range(5)):
    shapes = [tuple(p.shape) for p in params]
    for step in steps:
        for p, g in zip(params, gradients(step, dtype, shapes), strict=True):
            p.grad = g
        optimizer.step()
    return [p.detach().clone() for p in params]


def orthogonalized_by_ours(grad, coefficients, steps, eps):
    """For torch's Muon in place of its own polynomial, so that only the rest is compared."""
    return ok.polar(grad, "newton_schulz", coefficients=[coefficients], steps=steps)


# torch's name of each rule; a torch from before a rule leaves it out.
RULES = {"original": "muon", "match_rms_adamw": "match_rms_adamw", "spectral_unclamped": "spectral"}


def torch_muon(params, **arguments):
    try:
        return torch.optim.Muon(params, **arguments)
    except ValueError as error:
        if "is not supported" not in str(error):
            raise
        pytest.skip(str(error))


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("nesterov", [False, True])
def test_everything_but_the_polynomial_is_torchs_own(rule, nesterov, monkeypatch):
    """Momentum, Nesterov, decay, rate and its adjustment, by the same polynomial, in float64."""
    module = "torch.optim._muon._zeropower_via_newtonschulz"
    monkeypatch.setattr(module, orthogonalized_by_ours)
    arguments = {"lr": 0.02, "weight_decay": 0.1, "momentum": 0.9, "nesterov": nesterov}
    ours, theirs = make_params(torch.float64), make_params(torch.float64)
    their = torch_muon(theirs, **arguments, adjust_lr_fn=rule)
    a = run(Muon(ours, **arguments, scale=RULES[rule]), ours, torch.float64, range(50))
    b = run(their, theirs, torch.float64, range(50))
    # The polynomial runs in float32, where inputs that differ by float64's rounding may differ by
    # an ulp; keller_jordan magnifies it by 3.4445 a step at most.
    error = 50 * 0.02 * 3.4445**5 * torch.finfo(torch.float32).eps
    for p, q in zip(a, b, strict=True):
        assert float((p - q).norm() / q.norm()) < error


def test_steps_are_torchs_to_what_bfloat16_costs_both():
    """Each is within the bound of bfloat16 of the same polynomial, so they are within two of it."""
    lr, steps = 0.02, 5
    ours, theirs = make_params(torch.float32), make_params(torch.float32)
    arguments = {"lr": lr, "weight_decay": 0.1}
    a = run(Muon(ours, **arguments, precision="bfloat16"), ours, torch.float32, range(steps))
    b = run(torch.optim.Muon(theirs, **arguments), theirs, torch.float32, range(steps))
    for p, q in zip(a, b, strict=True):
        m, n = p.shape
        update = 1.21 * math.sqrt(min(m, n)) * math.sqrt(max(1, m / n))  # its largest norm
        assert float((p - q).norm()) < steps * lr * update * 2 * polynomial_bound("bfloat16")


def test_defaults_are_torchs():
    p = [nn.Parameter(torch.zeros(2, 2))]
    theirs = torch.optim.Muon(p).defaults
    ours = Muon(p).defaults
    assert all(ours[name] == theirs[name] for name in ours.keys() & theirs.keys())
    assert {"lr", "weight_decay", "momentum", "nesterov"} <= ours.keys() & theirs.keys()


def test_a_checkpoint_of_torchs_goes_on_here():
    params = make_params(torch.float32)
    theirs = torch.optim.Muon(params, lr=0.02, weight_decay=0.05)
    run(theirs, params, torch.float32, range(3))
    ours = Muon(params)
    ours.load_state_dict(theirs.state_dict())
    assert ours.param_groups[0]["lr"] == 0.02
    buffer = ours.state[params[0]]["momentum_buffer"].clone()
    run(ours, params, torch.float32, [3])
    want = buffer.lerp(gradients(3, torch.float32)[0], 0.05)
    torch.testing.assert_close(ours.state[params[0]]["momentum_buffer"], want)


def test_muon_takes_convolutions_and_refuses_vectors():
    conv = nn.Conv2d(3, 4, 3)
    optimizer = Muon([conv.weight], lr=1.0, weight_decay=0, method="exact")
    before = conv.weight.detach().clone()
    conv.weight.grad = cases.planted((4, 3, 3, 3), 1, torch.float32)
    optimizer.step()
    assert float((before - conv.weight.detach()).norm()) == pytest.approx(2.0, rel=1e-5)
    for make in (lambda: Muon(conv), lambda: Muon(conv.parameters())):
        with pytest.raises(ValueError, match=r"Muon: parameters must be weights .* got .*split"):
            make()
    with pytest.raises(ValueError, match="Muon: lr must be >= 0, got -1"):
        Muon([conv.weight], lr=-1)


@pytest.mark.parametrize("decay", [None, "decoupled"])
@pytest.mark.parametrize("form", ["plain", "momentum", "dampening", "nesterov"])
@pytest.mark.parametrize("maximize", [False, True])
def test_sgd_with_momentum_first(form, decay, maximize):
    """The factor of torch's own velocity, from an SGD at rate 1 whose weights are put back."""
    momentum = {
        "plain": {},
        "momentum": {"momentum": 0.9},
        "dampening": {"momentum": 0.9, "dampening": 0.3},
        "nesterov": {"momentum": 0.9, "nesterov": True},
    }[form]
    arguments = {**momentum, "maximize": maximize}
    ours, theirs = make_params(torch.float64), make_params(torch.float64)
    bias, their_bias = (nn.Parameter(torch.ones(5, dtype=torch.float64)) for _ in range(2))
    options = {"placement": "update", "decay": decay, "scale": "spectral"}
    optimizer = OrthogonalSGD([*ours, bias], lr=0.05, weight_decay=0.1, **arguments, **options)
    coupled = 0.1 if decay is None else 0.0
    theirs_sgd = torch.optim.SGD(theirs, lr=1.0, weight_decay=coupled, **arguments)
    of_bias = torch.optim.SGD([their_bias], lr=0.05, weight_decay=coupled, **arguments)
    for step in range(10):
        grads = gradients(step, torch.float64)
        for p, q, g in zip(ours, theirs, grads, strict=True):
            p.grad, q.grad = g.clone(), g.clone()
        bias.grad = their_bias.grad = torch.full((5,), float(step), dtype=torch.float64)
        optimizer.step()
        assert all(torch.equal(p.grad, g) for p, g in zip(ours, grads, strict=True))
        if decay == "decoupled":
            their_bias.data *= 1 - 0.05 * 0.1
        of_bias.step()
        before = [q.detach().clone() for q in theirs]
        theirs_sgd.step()
        for q, old in zip(theirs, before, strict=True):
            velocity = old - q.detach()
            shrink = 1 - 0.05 * 0.1 if decay == "decoupled" else 1.0
            rule = math.sqrt(q.shape[0] / q.shape[1])
            q.data = shrink * old - 0.05 * rule * cases.polar_by_hand(velocity)
    for p, q in zip([*ours, bias], [*theirs, their_bias], strict=True):
        assert float((p - q).detach().norm() / q.detach().norm()) < 1e-8
    for p, q in zip(ours, theirs, strict=True):
        state = theirs_sgd.state[q].get("momentum_buffer")
        assert (state is None) == (form == "plain")
        if state is not None:
            torch.testing.assert_close(optimizer.state[p]["momentum_buffer"], state)


@pytest.mark.parametrize("make", [Muon, lambda p, **k: OrthogonalSGD(p, placement="update", **k)])
def test_momentum_first_resumes_with_the_same_bits_and_keeps_nan_out(make):
    arguments = {"lr": 0.05, "momentum": 0.9, "nonfinite": "skip"}
    whole, half = make_params(torch.bfloat16), make_params(torch.bfloat16)
    all_at_once = run(make(whole, **arguments), whole, torch.bfloat16, range(6))
    first = make(half, **arguments)
    run(first, half, torch.bfloat16, range(3))
    second = make(half, **arguments)
    second.load_state_dict(first.state_dict())
    resumed = run(second, half, torch.bfloat16, range(3, 6))
    assert all(torch.equal(p, q) for p, q in zip(all_at_once, resumed, strict=True))
    buffer = second.state[half[0]]["momentum_buffer"].clone()
    for p, q, g in zip(half, whole, gradients(9, torch.bfloat16), strict=True):
        p.grad, q.grad = g.clone(), g.clone()
    half[0].grad[1, 1] = math.nan
    second.step()
    assert torch.equal(half[0].detach(), resumed[0])
    assert torch.equal(second.state[half[0]]["momentum_buffer"], buffer)
    assert second.skipped.total() == 1
    whole_optimizer = make(whole, **arguments)
    whole_optimizer.load_state_dict(first.state_dict())


@pytest.mark.parametrize("make", [Muon, lambda p, **k: OrthogonalSGD(p, placement="update", **k)])
def test_zero_gradients_move_nothing_and_a_tensor_rate_is_a_rate(make):
    p, q = (nn.Parameter(cases.planted((4, 6), 3).clone()) for _ in range(2))
    for one, lr in ((p, 0.1), (q, torch.tensor(0.1, dtype=torch.float64))):
        optimizer = make([one], lr=lr, momentum=0.9, weight_decay=0)
        one.grad = torch.zeros_like(one)
        optimizer.step()
        assert torch.equal(one.detach(), cases.planted((4, 6), 3))
        one.grad = cases.planted((4, 6), 4)
        optimizer.step()
    assert not torch.equal(p.detach(), cases.planted((4, 6), 3))
    torch.testing.assert_close(p, q, rtol=0, atol=1e-15)


def test_clipping_acts_on_the_updates():
    p, bias = nn.Parameter(torch.zeros(4, 6)), nn.Parameter(torch.zeros(3))
    options = {"placement": "update", "clip": "orthogonalized", "max_norm": 0.5}
    optimizer = OrthogonalSGD([p, bias], lr=1.0, momentum=0.9, **options)
    p.grad, bias.grad = cases.planted((4, 6), 1, torch.float32), torch.ones(3)
    optimizer.step()
    moved = torch.cat([p.detach().flatten(), bias.detach()]).norm()
    assert float(moved) == pytest.approx(0.5, rel=1e-4)


@pytest.mark.parametrize(
    ("theirs", "ours", "word"),
    [
        ({}, {}, None),
        ({"adjust_lr_fn": "original"}, {}, None),
        ({"ns_steps": 7}, {}, "ns_steps=7"),
        ({"ns_steps": 7}, {"steps": 7}, None),
        ({}, {"steps": 7}, "ns_steps=5"),
        ({"ns_coefficients": (2.0, -1.5, 0.5)}, {}, "ns_coefficients=(2.0, -1.5, 0.5)"),
        (
            {"ns_coefficients": (2.0, -1.5, 0.5)},
            {"coefficients": [(2.0, -1.5, 0.5)], "steps": 5},
            None,
        ),
        ({"adjust_lr_fn": "match_rms_adamw"}, {}, "adjust_lr_fn='match_rms_adamw'"),
        ({"adjust_lr_fn": "match_rms_adamw"}, {"scale": "match_rms_adamw"}, None),
        ({"adjust_lr_fn": "spectral_unclamped"}, {"scale": "spectral"}, None),
        ({}, {"scale": 0.5}, "adjust_lr_fn=None"),
    ],
)
def test_a_checkpoint_of_torchs_that_was_made_otherwise_is_warned_of(theirs, ours, word):
    params = make_params(torch.float32)
    saved = torch_muon(params, **theirs)
    run(saved, params, torch.float32, range(2))
    optimizer = Muon(make_params(torch.float32), **ours)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        optimizer.load_state_dict(saved.state_dict())
    assert [word in str(one.message) for one in caught] == ([True] if word else [])
