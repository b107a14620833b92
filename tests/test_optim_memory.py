"""The most that a step holds besides weights, gradients and state: docs/optim-cost.md."""

from __future__ import annotations

import optim_cases as cases
import pytest
import torch
from torch import nn
from torch.profiler import ProfilerActivity, profile

import ortho_kernels as ok
from ortho_optim import Muon, OrthogonalSGD, transposed


def held(optimizer):
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as recorded:
        optimizer.step()
    now = most = 0
    for event in recorded.profiler.kineto_results.events():
        if event.name() == "[memory]":
            now += event.nbytes()
            most = max(most, now)
    return most


def weights_with_gradients():
    weights = [nn.Parameter(cases.planted((32, 64), i, torch.float32)) for i in range(20)]
    for i, weight in enumerate(weights):
        weight.grad = cases.planted((32, 64), 20 + i, torch.float32).clone()
    return weights


UPDATE = {"placement": "update", "method": "newton_schulz", "momentum": 0.9}


@pytest.mark.parametrize("maximize", [False, True])
@pytest.mark.parametrize(
    ("rule", "arguments"),
    [
        (Muon, {}),
        (Muon, {"nesterov": False}),
        (OrthogonalSGD, UPDATE),
        (OrthogonalSGD, {**UPDATE, "nesterov": True}),
        (OrthogonalSGD, {**UPDATE, "weight_decay": 0.1}),
        (OrthogonalSGD, {**UPDATE, "weight_decay": 0.1, "nesterov": True}),
    ],
)
def test_factors_are_written_over_directions(rule, arguments, maximize):
    weights = weights_with_gradients()
    optimizer = rule(weights, maximize=maximize, **arguments)
    optimizer._fuses = False
    optimizer.step()
    assert held(optimizer) < 1.1 * sum(weight.nbytes for weight in weights)


@pytest.mark.parametrize("view", ["flatten", ok.heads(2), transposed(2), lambda x: x.flatten(1)])
@pytest.mark.parametrize("nesterov", [False, True])
def test_gradients_and_momentum_are_not_written_over(view, nesterov):
    weights = weights_with_gradients()
    before = [weight.grad.clone() for weight in weights]
    groups = [{"params": weights[:9]}, {"params": weights[9:], "nesterov": nesterov}]
    Muon(groups, nesterov=False, view=view).step()
    muon = Muon(weights, nesterov=nesterov, view=view)
    muon.step()
    for weight, grad in zip(weights, before, strict=True):
        assert torch.equal(weight.grad, grad)
        momentum = muon.state[weight]["momentum_buffer"]
        torch.testing.assert_close(momentum, 0.05 * grad, rtol=1e-5, atol=1e-7)
