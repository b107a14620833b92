"""NaN and Inf in gradients: raised, skipped or zeroed, never spread."""

from __future__ import annotations

import copy
import logging
import math

import optim_cases as cases
import pytest
import torch
from torch import nn

import ortho_kernels as ok
from ortho_optim import OrthogonalSGD, orthogonalize

BASE = {"lr": 0.01, "momentum": 0.9, "weight_decay": 1e-3}
VALUES = [math.nan, math.inf, -math.inf]


def one_step_with(value, where, policy, base=torch.optim.SGD, **arguments):
    """A second step, so that momentum is there, with one bad entry; returns before and after."""
    net = cases.make_net()
    optimizer = orthogonalize(base)(net, nonfinite=policy, **(arguments or BASE))
    cases.train(net, optimizer, [0])
    optimizer.zero_grad()
    cases.backward(net, 1)
    if where is not None:
        dict(net.named_parameters())[where].grad.view(-1)[1] = value
    before = cases.weights(net), copy.deepcopy(optimizer.state_dict())
    return net, optimizer, before


@pytest.mark.parametrize("value", VALUES)
@pytest.mark.parametrize("where", ["conv.weight", "head.weight", "conv.bias", "embedding.weight"])
def test_raise_leaves_everything_as_it_was(value, where):
    net, optimizer, (before, state) = one_step_with(value, where, "raise")
    grads = [(p.grad, p.grad.clone()) for p in net.parameters()]
    with pytest.raises(RuntimeError, match=rf"must be finite, got NaN or Inf in those of {where} "):
        optimizer.step()
    cases.assert_same_bits(cases.weights(net), before)
    for i, entry in state["state"].items():
        now = optimizer.state_dict()["state"][i]
        assert torch.equal(now["momentum_buffer"], entry["momentum_buffer"])
    for p, (grad, bits) in zip(net.parameters(), grads, strict=True):
        assert p.grad is grad
        torch.testing.assert_close(grad, bits, rtol=0, atol=0, equal_nan=True)


def test_raise_is_the_default_and_names_all():
    net = cases.make_net()
    optimizer = OrthogonalSGD(net, lr=0.1)
    cases.backward(net, 0)
    for p in (net.head.weight, net.norm.bias):
        p.grad.fill_(math.nan)
    with pytest.raises(RuntimeError, match=r"in those of head\.weight, norm\.bias \("):
        optimizer.step()


@pytest.mark.parametrize("value", VALUES)
@pytest.mark.parametrize("where", ["conv.weight", "head.bias"])
@pytest.mark.parametrize("policy", ["skip", "zero"])
def test_neighbours_are_bit_identical_to_a_step_without_the_accident(value, where, policy):
    net, optimizer, (before, _) = one_step_with(value, where, policy)
    optimizer.step()
    good, optimizer_of_good, _ = one_step_with(value, None, policy)
    optimizer_of_good.step()
    after = cases.weights(net)
    cases.assert_same_bits(after, cases.weights(good), but=[where])
    assert all(torch.isfinite(p).all() for p in after.values())
    # Skipped means untouched; zero means that momentum and decay go on.
    assert torch.equal(after[where], before[where]) == (policy == "skip")
    assert optimizer.skipped == {where: 1}
    assert not optimizer_of_good.skipped


def test_zero_policy_is_a_zero_gradient():
    net, optimizer, _ = one_step_with(math.nan, "conv.weight", "zero")
    optimizer.step()
    other, optimizer_of_other, _ = one_step_with(None, None, "raise")
    other.conv.weight.grad.zero_()
    optimizer_of_other.step()
    cases.assert_same_bits(cases.weights(net), cases.weights(other))


def test_large_finite_gradients_are_finite():
    """Norms of these overflow float32."""
    model = nn.ModuleList([nn.Linear(4, 3), nn.Embedding(100, 50)])
    optimizer = OrthogonalSGD(model, lr=1.0)
    for p in model.parameters():
        p.grad = torch.full_like(p, 3e38)
    before = model[0].weight.detach().clone()
    optimizer.step()
    assert float((before - model[0].weight.detach()).norm()) == pytest.approx(1.0, rel=1e-5)


@pytest.mark.parametrize("value", VALUES)
def test_large_gradients_beside_the_orthogonalized_ones_are_looked_at(value):
    model = nn.ModuleList([nn.Linear(4, 3), nn.Embedding(100, 50)])
    optimizer = OrthogonalSGD(model, lr=1.0)
    for p in model.parameters():
        p.grad = torch.ones_like(p)
    model[1].weight.grad[70, 7] = value
    with pytest.raises(RuntimeError, match=r"in those of 1\.weight "):
        optimizer.step()


@pytest.mark.parametrize("policy", ["raise", "skip", "zero"])
def test_looking_at_gradients_leaves_them_alone(policy):
    model = nn.ModuleList([nn.Linear(4, 3), nn.Embedding(100, 50), nn.BatchNorm1d(3)])
    optimizer = OrthogonalSGD(model, lr=1.0, nonfinite=policy)
    versions = {}
    for p in model.parameters():
        p.grad = torch.randn_like(p)
        versions[p] = p.grad._version
    optimizer.step()
    assert all(p.grad._version == version for p, version in versions.items())


@pytest.mark.parametrize("value", VALUES)
def test_entries_that_a_view_leaves_out_are_looked_at(value):
    p = nn.Parameter(torch.zeros(4, 6))
    optimizer = OrthogonalSGD([p], lr=1.0, view=lambda g: g[:3])
    p.grad = torch.randn(4, 6)
    p.grad[3, 0] = value
    with pytest.raises(RuntimeError, match="must be finite"):
        optimizer.step()


def test_one_bad_head_is_a_bad_parameter():
    p = nn.Parameter(torch.zeros(4, 6))
    optimizer = OrthogonalSGD([p], lr=1.0, view=ok.heads(2), nonfinite="skip")
    p.grad = torch.randn(4, 6)
    p.grad[3, 0] = math.nan
    optimizer.step()
    assert not p.detach().any()


def test_sparse_gradients_are_looked_at():
    embedding = nn.Embedding(5, 3, sparse=True)
    model = nn.ModuleList([embedding, nn.Linear(3, 3)])
    optimizer = OrthogonalSGD(model, lr=1.0)
    (embedding(torch.tensor([1, 3])) * math.nan).sum().backward()
    with pytest.raises(RuntimeError, match="must be finite"):
        optimizer.step()


def test_log_says_it_once_per_power_of_ten(caplog):
    p = nn.Parameter(torch.zeros(2, 2))
    optimizer = OrthogonalSGD([p], lr=1.0, nonfinite="skip")
    p.grad = torch.full((2, 2), math.nan)
    with caplog.at_level(logging.WARNING, logger="ortho_optim"):
        for _ in range(12):
            optimizer.step()
    assert [record.args[2] for record in caplog.records] == [1, 10]
    assert optimizer.skipped.total() == 12


def test_policy_words():
    with pytest.raises(
        ValueError, match="nonfinite must be one of 'raise', 'skip', 'zero', 'unchecked', got"
    ):
        OrthogonalSGD([nn.Parameter(torch.zeros(2, 2))], lr=1.0, nonfinite="ignore")
