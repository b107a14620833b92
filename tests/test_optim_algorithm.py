"""Algorithm 6: what an orthogonalised step is, against the reference composed by hand."""

from __future__ import annotations

import math

import optim_cases as cases
import pytest
import torch
from torch import nn

import ortho_optim
from ortho_kernels.reference.polar import rank as reference_rank
from ortho_optim import OrthogonalSGD, orthogonalize

# Fifty steps of float64 with a polar factor good to 1e-9 each.
AFTER_50_STEPS = 1e-8


@pytest.mark.parametrize("maximize", [False, True])
@pytest.mark.parametrize("way", cases.WAYS)
@pytest.mark.parametrize("base", cases.BASES)
def test_equals_the_reference_composed_with_torchs_own_step(base, way, maximize):
    cls, arguments = cases.BASES[base]
    arguments = arguments | cases.WAYS[way] | {"maximize": maximize}
    if way == "fused" and "fused" not in cls.__init__.__annotations__:
        pytest.skip(f"{cls.__name__} has no fused step")
    shapes = [(6, 4, 3, 3), (9, 2, 2, 2), (5, 12), (7,)]
    ours = [nn.Parameter(cases.planted(s if len(s) > 1 else (*s, 1), 7).reshape(s)) for s in shapes]
    theirs = [nn.Parameter(p.detach().clone()) for p in ours]
    optimizer = orthogonalize(cls)(ours, **arguments)
    by_hand = cls(theirs, **arguments)
    for step in range(50):
        for params in (ours, theirs):
            for i, p in enumerate(params):
                shape = p.shape if p.ndim > 1 else (*p.shape, 1)
                noise = cases.planted(shape, 100 * step + i).reshape(p.shape)
                p.grad = noise + 0.01 * p.detach()
        optimizer.step()
        cases.step_by_hand(by_hand, theirs[:3])
    for p, q in zip(ours, theirs, strict=True):
        assert float((p - q).detach().norm() / q.detach().norm()) < AFTER_50_STEPS


def test_orthogonal_sgd_is_the_wrapped_sgd():
    arguments = {"lr": 0.1, "momentum": 0.9, "weight_decay": 1e-3, "nesterov": True}
    a, b = cases.make_net(), cases.make_net()
    one = OrthogonalSGD(a, **arguments)
    two = orthogonalize(torch.optim.SGD(b.parameters(), **arguments), model=b)
    assert one.orthogonalized == two.orthogonalized == cases.LAYERS
    for net, optimizer in ((a, one), (b, two)):
        cases.train(net, optimizer, range(5))
    cases.assert_same_bits(cases.weights(a), cases.weights(b))


@pytest.mark.parametrize(
    "shapes", [cases.BASIC_CNN, cases.RESNET_20], ids=["basic_cnn", "resnet20"]
)
def test_step_norm_is_eta_root_sum_of_small_sides(shapes):
    params = [nn.Parameter(0.1 * torch.randn(s)) for s in shapes]
    before = [p.detach().clone() for p in params]
    for i, p in enumerate(params):
        p.grad = 1e-3 * cases.planted(p.shape, i, torch.float32)
    OrthogonalSGD(params, lr=0.01).step()
    moved = sum(
        float((p.detach().double() - q.double()).square().sum())
        for p, q in zip(params, before, strict=True)
    )
    want = 0.01 * math.sqrt(sum(map(cases.small_side, shapes)))
    assert sum(map(cases.small_side, shapes)) == {4: 101, 20: 698}[len(shapes)]
    assert math.sqrt(moved) == pytest.approx(want, rel=1e-5)


def test_biases_and_norms_take_the_base_step():
    ours, theirs = cases.make_net(), cases.make_net()
    optimizer, base = OrthogonalSGD(ours, lr=0.1), torch.optim.SGD(theirs.parameters(), lr=0.1)
    for net, one in ((ours, optimizer), (theirs, base)):
        cases.train(net, one, [0])
    cases.assert_same_bits(cases.weights(ours), cases.weights(theirs), but=cases.LAYERS)


def test_coupled_weight_decay_is_added_to_the_factor():
    p = nn.Parameter(torch.randn(4, 6, dtype=torch.float64))
    before = p.detach().clone()
    p.grad = cases.planted((4, 6), 1)
    OrthogonalSGD([p], lr=0.5, weight_decay=0.1).step()
    want = before - 0.5 * (cases.polar_by_hand(p.grad) + 0.1 * before)
    torch.testing.assert_close(p.detach(), want, rtol=0, atol=1e-9)


def test_the_learning_rate_is_outside_the_momentum_buffer():
    p = nn.Parameter(torch.zeros(3, 5, dtype=torch.float64))
    optimizer = OrthogonalSGD([p], lr=1.0, momentum=0.5)
    grad = cases.planted((3, 5), 2)
    factor = cases.polar_by_hand(grad)
    p.grad = grad
    optimizer.step()
    optimizer.param_groups[0]["lr"] = 0.1
    optimizer.step()
    # -(1 + 0.1 * 1.5) factor; with the rate inside it would be -(1 + 0.5 + 0.1) factor.
    torch.testing.assert_close(p.detach(), -1.15 * factor, rtol=0, atol=1e-9)


@pytest.mark.parametrize("base", ["sgd", "momentum", "nesterov"])
@pytest.mark.parametrize("method", ["exact", "svd", "auto", "newton_schulz", "polar_express"])
def test_zero_gradient_moves_nothing(base, method):
    cls, arguments = cases.BASES[base]
    p = nn.Parameter(torch.randn(4, 3, 3, 3))
    before = p.detach().clone()
    p.grad = torch.zeros_like(p)
    orthogonalize(cls)([p], **(arguments | {"weight_decay": 0}), method=method).step()
    assert torch.equal(p.detach(), before)


def test_options_reach_the_kernels():
    grad = torch.zeros(4, 6, dtype=torch.float64)
    grad[:2] = cases.planted((2, 6), 3)

    def step(**options):
        p = nn.Parameter(torch.zeros(4, 6, dtype=torch.float64))
        p.grad = grad.clone()
        ortho_optim.OrthogonalSGD([p], lr=1.0, **options).step()
        return -p.detach()

    assert float(step().square().sum()) == pytest.approx(2)
    assert float(step(rank="complete").square().sum()) == pytest.approx(4)
    assert float(step(rtol=0.5).square().sum()) == pytest.approx(1)  # 1/4 of sigma_1 is dropped
    by_table = step(method="newton_schulz", coefficients="cubic", steps=30)
    torch.testing.assert_close(by_table, step(), rtol=0, atol=1e-5)
    assert not torch.allclose(step(method="newton_schulz", steps=1), step(), atol=0.1)


def test_views():
    import ortho_kernels as ok

    grad = cases.planted((6, 8), 4)

    def step(view):
        p = nn.Parameter(torch.zeros(6, 8, dtype=torch.float64))
        p.grad = grad.clone()
        OrthogonalSGD([p], lr=1.0, view=view).step()
        return -p.detach()

    per_head = torch.cat([cases.polar_by_hand(block) for block in grad.chunk(3)])
    torch.testing.assert_close(step(ok.heads(3)), per_head, rtol=0, atol=1e-9)
    torch.testing.assert_close(step(lambda g: list(g.chunk(3))), per_head, rtol=0, atol=1e-9)
    torch.testing.assert_close(step("batch"), cases.polar_by_hand(grad), rtol=0, atol=1e-9)
    with pytest.raises(ValueError, match="or a mapping from names to these, got"):
        step(["flatten"])


def test_step_norm_is_eta_root_sum_of_kept_ranks_on_gradients_of_real_layers():
    """Grey images copied to three channels leave 9 of 27 directions, a softmax head C - 1 of C."""
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(3, 16, 3), nn.ReLU(), nn.Flatten(), nn.Linear(16 * 36, 40), nn.Linear(40, 10)
    )
    x = torch.randn(64, 1, 8, 8).expand(-1, 3, -1, -1)
    nn.functional.cross_entropy(model(x), torch.arange(64) % 10).backward()
    optimizer = OrthogonalSGD(model, lr=0.5, layers="all", exclude="3")
    ranks = [int(reference_rank(model[i].weight.grad.flatten(1).numpy())) for i in (0, 4)]
    assert ranks == [9, 9]
    before = [model[i].weight.detach().clone() for i in (0, 4)]
    optimizer.step()
    moved = [model[i].weight.detach() - w for i, w in zip((0, 4), before, strict=True)]
    norm = math.sqrt(sum(float(m.double().square().sum()) for m in moved))
    assert norm == pytest.approx(0.5 * math.sqrt(sum(ranks)), rel=1e-5)
