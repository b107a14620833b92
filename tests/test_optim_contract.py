"""What stays true around a step: raw gradients, closures, accumulation, hooks, odd parameters."""

from __future__ import annotations

import optim_cases as cases
import pytest
import torch
from torch import nn
from torch.optim.optimizer import register_optimizer_step_post_hook

from ortho_optim import OrthogonalSGD, orthogonalize


def raw_gradients(model):
    """Every gradient as object, address and bits."""
    return {
        name: (p.grad, p.grad.data_ptr(), p.grad.clone())
        for name, p in model.named_parameters()
        if p.grad is not None
    }


def assert_raw(model, before):
    for name, p in model.named_parameters():
        if name in before:
            grad, address, bits = before[name]
            assert p.grad is grad
            assert p.grad.data_ptr() == address
            assert torch.equal(p.grad, bits)
        else:
            assert p.grad is None


@pytest.mark.parametrize("base", cases.BASES)
@pytest.mark.parametrize("clip", [{}, {"clip": "orthogonalized", "max_norm": 0.1}])
def test_gradients_hold_their_raw_bits_after_a_step(base, clip):
    cls, arguments = cases.BASES[base]
    net = cases.make_net()
    optimizer = orthogonalize(cls)(net, **arguments, **clip)
    for step in range(2):
        optimizer.zero_grad()
        cases.backward(net, step)
        before, moved = raw_gradients(net), cases.weights(net)
        optimizer.step()
        assert_raw(net, before)
        assert all(not torch.equal(moved[n], p) for n, p in net.named_parameters())


def test_gradients_hold_their_raw_bits_after_a_step_that_raised():
    class Failing(torch.optim.SGD):
        def step(self, closure=None):
            super().step()
            raise ArithmeticError("half way")

    net = cases.make_net()
    optimizer = orthogonalize(Failing)(net, lr=0.1)
    cases.backward(net, 0)
    before = raw_gradients(net)
    with pytest.raises(ArithmeticError, match="half way"):
        optimizer.step()
    assert_raw(net, before)


def test_a_call_that_the_kernels_refuse_changes_nothing():
    p = nn.Parameter(torch.randn(5, 7))
    optimizer = OrthogonalSGD([p], lr=0.1, view=lambda g: g.clone())
    p.grad = grad = torch.randn(5, 7)
    before, bits = p.detach().clone(), grad.clone()
    with pytest.raises(ValueError, match="view must return views"):
        optimizer.step()
    assert p.grad is grad
    assert torch.equal(grad, bits)
    assert torch.equal(p.detach(), before)


def test_accumulation_over_two_backward_calls_after_a_step():
    ours, theirs = cases.make_net(), cases.make_net()
    optimizer = OrthogonalSGD(ours, lr=0.1)
    base = torch.optim.SGD(theirs.parameters(), lr=0.1)
    matrices = [dict(theirs.named_parameters())[name] for name in cases.LAYERS]
    for net in (ours, theirs):
        cases.backward(net, 0)
    raw = [p.grad.clone() for p in theirs.parameters()]
    optimizer.step()
    cases.step_by_hand(base, matrices)
    for p, grad in zip(theirs.parameters(), raw, strict=True):
        p.grad = grad  # by hand, what the wrapper promises
    for net in (ours, theirs):  # no zero_grad: both calls add to what the first step left
        cases.backward(net, 1)
        cases.backward(net, 2)
    optimizer.step()
    cases.step_by_hand(base, matrices)
    assert cases.relative_error(cases.weights(ours), cases.weights(theirs)) < 1e-8


@pytest.mark.parametrize("base", ["sgd", "adam", "rmsprop"])
def test_closure_runs_once_before_and_gives_its_value(base):
    cls, arguments = cases.BASES[base]
    a, b = cases.make_net(), cases.make_net()
    one, two = (orthogonalize(cls)(net, **arguments) for net in (a, b))
    calls = []

    def closure():
        assert torch.is_grad_enabled()
        one.zero_grad()
        calls.append(cases.backward(a, len(calls)))
        return calls[-1]

    for step in range(3):
        assert one.step(closure) is calls[-1]
        assert len(calls) == step + 1
        cases.train(b, two, [step])
    cases.assert_same_bits(cases.weights(a), cases.weights(b))
    assert one.step() is None


def test_hooks_run_once_and_see_raw_gradients():
    net = cases.make_net()
    torch.optim.SGD(net.parameters(), lr=0.1)  # torch has wrapped the base class's own step by now
    optimizer = OrthogonalSGD(net, lr=0.1)
    cases.backward(net, 0)
    before, seen = raw_gradients(net), []
    optimizer.register_step_pre_hook(lambda *_: seen.append("pre") or assert_raw(net, before))
    optimizer.register_step_post_hook(lambda *_: seen.append("post") or assert_raw(net, before))
    handle = register_optimizer_step_post_hook(lambda *_: seen.append("all"))
    try:
        optimizer.step()
    finally:
        handle.remove()
    assert seen == ["pre", "post", "all"]


def test_parameters_without_gradient_frozen_empty_and_tied():
    tied = nn.Linear(4, 4, bias=False)
    model = nn.ModuleDict(
        {
            "used": nn.Linear(4, 4),
            "unused": nn.Linear(4, 4),
            "frozen": nn.Linear(4, 4).requires_grad_(False),
            "empty": nn.Linear(4, 1),
            "tied": tied,
            "again": tied,
        }
    )
    model["empty"].weight = nn.Parameter(torch.empty(0, 4))
    model["empty"].bias = nn.Parameter(torch.empty(0))
    optimizer = OrthogonalSGD(model, lr=1.0)
    names = ["used.weight", "unused.weight", "frozen.weight", "empty.weight", "tied.weight"]
    assert optimizer.orthogonalized == names
    before = cases.weights(model)
    x = model["used"](model["frozen"](torch.randn(9, 4)))
    y = model["again"](model["tied"](x))
    (y.square().sum() + model["empty"](y).sum()).backward()
    raw = raw_gradients(model)
    optimizer.step()
    assert_raw(model, raw)
    moved = {n for n, p in model.named_parameters() if not torch.equal(p, before[n])}
    assert moved == {"used.weight", "used.bias", "tied.weight"}
    step = before["tied.weight"] - tied.weight.detach()  # one step, not one for each use
    assert float(step.norm()) == pytest.approx(2.0, rel=1e-5)


@pytest.mark.parametrize("way", cases.WAYS)
@pytest.mark.parametrize("view", ["flatten", lambda g: g.flatten(1)])
def test_channels_last(way, view):
    def step(memory_format):
        p = nn.Parameter(torch.zeros(4, 3, 3, 3).to(memory_format=memory_format))
        p.grad = cases.planted((4, 3, 3, 3), 5, torch.float32).to(memory_format=memory_format)
        OrthogonalSGD([p], lr=1.0, view=view, **cases.WAYS[way]).step()
        return p

    p = step(torch.channels_last)
    assert p.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(p.detach(), step(torch.contiguous_format).detach())


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_parameters(dtype):
    p = nn.Parameter(torch.zeros(4, 9, dtype=dtype))
    p.grad = cases.planted((4, 9), 6, dtype)
    OrthogonalSGD([p], lr=1.0).step()
    want = cases.polar_by_hand(p.grad.double())
    torch.testing.assert_close(-p.detach().double(), want, rtol=torch.finfo(dtype).eps, atol=1e-5)


def test_groups_that_come_later():
    first, second, third = (nn.Parameter(torch.zeros(2, 3)) for _ in range(3))
    optimizer = OrthogonalSGD([first], lr=1.0)
    optimizer.add_param_group({"params": [second], "lr": 0.5})
    optimizer.add_param_group({"params": [third], "orthogonalize": False})
    assert optimizer.orthogonalized == ["param_groups[0][0]", "param_groups[1][0]"]
    for p in (first, second, third):
        p.grad = torch.full((2, 3), 2.0)
    optimizer.step()
    assert float(first.detach().norm()) == pytest.approx(1.0, rel=1e-5)
    assert float(second.detach().norm()) == pytest.approx(0.5, rel=1e-5)
    assert torch.equal(third.detach(), -third.grad)


def test_a_group_that_is_refused_is_not_added():
    optimizer = OrthogonalSGD([nn.Parameter(torch.zeros(2, 3))], lr=1.0)
    with pytest.raises(TypeError, match="must be True or False, got 'yes'"):
        optimizer.add_param_group({"params": [torch.zeros(2, 2)], "orthogonalize": "yes"})
    assert len(optimizer.param_groups) == 1


def test_a_parameter_put_into_a_group_by_hand_is_orthogonalized_too():
    optimizer = OrthogonalSGD([nn.Parameter(torch.zeros(2, 3))], lr=1.0)
    p = nn.Parameter(torch.zeros(3, 3))
    optimizer.param_groups[0]["params"].append(p)
    p.grad = cases.planted((3, 3), 8, torch.float32)
    optimizer.step()
    assert float(p.detach().norm()) == pytest.approx(3**0.5, rel=1e-5)


def test_what_cannot_be_done_is_refused_in_words():
    net = cases.make_net()
    with pytest.raises(TypeError, match="step without a closure, got LBFGS"):
        orthogonalize(torch.optim.LBFGS)
    with pytest.raises(TypeError, match="step without a closure, got LBFGS"):
        orthogonalize(torch.optim.LBFGS(net.parameters()))
    with pytest.raises(ValueError, match="differentiable must be False"):
        OrthogonalSGD(net, lr=0.1, differentiable=True)
    with pytest.raises(ValueError, match="differentiable must be False"):
        orthogonalize(torch.optim.SGD(net.parameters(), lr=0.1, differentiable=True))
    with pytest.raises(TypeError, match=r"param_groups\[0\]\[0\] must be real floating point, got"):
        OrthogonalSGD([nn.Parameter(torch.zeros(2, 2, dtype=torch.complex64))])


def test_sparse_gradients():
    embedding = nn.Embedding(5, 3, sparse=True)
    tokens = torch.tensor([1, 3])
    optimizer = OrthogonalSGD(embedding.parameters(), lr=1.0)
    embedding(tokens).sum().backward()
    with pytest.raises(TypeError, match=r"must be dense, got torch\.sparse_coo"):
        optimizer.step()
    model = nn.ModuleList([embedding, nn.Linear(3, 3)])
    before = embedding.weight.detach().clone()
    optimizer = OrthogonalSGD(model, lr=1.0)
    optimizer.step()
    assert torch.equal(embedding.weight.detach()[tokens], before[tokens] - 1)
    clipping = OrthogonalSGD(model, lr=1.0, clip="orthogonalized", max_norm=1.0)
    with pytest.raises(TypeError, match="dense gradients only"):
        clipping.step()
