"""The named optimisers, each against its formula composed by hand with the reference polar."""

from __future__ import annotations

import inspect

import optim_cases as cases
import pytest
import torch
from torch import nn

import ortho_optim
from ortho_optim import LARS, OrthogonalLARS

# Fifty steps of float64 with a polar factor good to 1e-9 each.
AFTER_50_STEPS = 1e-8
SHAPES = [(6, 4, 3, 3), (5, 12), (7,)]


def run_once(optimizer, params, step):
    for i, p in enumerate(params):
        shape = p.shape if p.ndim > 1 else (*p.shape, 1)
        p.grad = cases.planted(shape, 100 * step + i).reshape(p.shape) + 0.01 * p.detach()
    optimizer.step()


def run(optimizer, params, steps=50, by_hand=False):
    for step in range(steps):
        for i, p in enumerate(params):
            shape = p.shape if p.ndim > 1 else (*p.shape, 1)
            p.grad = cases.planted(shape, 100 * step + i).reshape(p.shape) + 0.01 * p.detach()
        if by_hand:
            cases.step_by_hand(optimizer, [p for p in params if p.ndim > 1])
        else:
            optimizer.step()
    return [p.detach().clone() for p in params]


def make_params():
    shapes = [s if len(s) > 1 else (*s, 1) for s in SHAPES]
    return [
        nn.Parameter(cases.planted(s, 7).reshape(t).clone())
        for s, t in zip(shapes, SHAPES, strict=True)
    ]


def assert_close(ours, theirs, tolerance=AFTER_50_STEPS):
    for p, q in zip(ours, theirs, strict=True):
        assert float((p - q).norm() / q.norm()) < tolerance


@pytest.mark.parametrize("name", ["SGD", "Adam", "AdamW", "RMSprop", "Adagrad", "LARS"])
def test_every_class_is_its_base_on_the_reference_factors(name):
    cls = getattr(ortho_optim, f"Orthogonal{name}")
    base = LARS if name == "LARS" else getattr(torch.optim, name)
    arguments = {"lr": 0.01, "weight_decay": 1e-2}
    ours, theirs = make_params(), make_params()
    optimizer = cls(ours, **arguments)
    assert isinstance(optimizer, base)
    assert_close(run(optimizer, ours), run(base(theirs, **arguments), theirs, by_hand=True))
    named = inspect.signature(cls).parameters
    assert {"lr", "weight_decay"} <= named.keys()
    assert {"view", "placement"} <= named.keys() or "options" in named


def test_signatures_show_the_options_and_their_defaults():
    derived = ortho_optim.orthogonalize(torch.optim.SGD, layers="conv")
    for cls, layers in ((ortho_optim.OrthogonalAdam, "all"), (derived, "conv")):
        shown = inspect.signature(cls).parameters
        options = {"layers": layers, "method": "exact", "scale": "none", "nonfinite": "raise"}
        assert {name: shown[name].default for name in options} == options
        assert all(parameter.default is not ... for parameter in shown.values())
        base = inspect.signature(cls.__mro__[cls.__mro__.index(ortho_optim.Orthogonalized) + 1])
        assert list(shown)[: len(base.parameters)] == list(base.parameters)


def lars_by_hand(params, velocity, lr, momentum, decay, trust, eps, nesterov, sign):
    """The formula, on numbers."""
    for p, v in zip(params, velocity, strict=True):
        g = sign * p.grad
        w_norm, g_norm = float(p.detach().norm()), float(g.norm())
        ratio = 1.0
        if p.ndim >= 2 and w_norm > 0 and g_norm > 0:
            ratio = trust * w_norm / (g_norm + decay * w_norm + eps)
        step = ratio * (g + decay * p.detach())
        v.mul_(momentum).add_(step)
        p.data -= lr * (step + momentum * v if nesterov else v)


@pytest.mark.parametrize("foreach", [False, True])
@pytest.mark.parametrize("nesterov", [False, True])
@pytest.mark.parametrize("maximize", [False, True])
def test_lars_is_its_formula(foreach, nesterov, maximize):
    arguments = (0.5, 0.9, 1e-2, 0.02, 1e-8)
    ours, theirs = make_params(), make_params()
    optimizer = LARS(ours, *arguments, nesterov=nesterov, maximize=maximize, foreach=foreach)
    velocity = [torch.zeros_like(p) for p in theirs]
    for step in range(10):
        for params in (ours, theirs):
            for i, p in enumerate(params):
                shape = p.shape if p.ndim > 1 else (*p.shape, 1)
                p.grad = cases.planted(shape, 100 * step + i).reshape(p.shape)
        optimizer.step()
        lars_by_hand(theirs, velocity, *arguments, nesterov, -1 if maximize else 1)
    assert_close([p.detach() for p in ours], [p.detach() for p in theirs], 1e-12)


def test_lars_moves_nothing_at_zero_and_from_zero_takes_the_plain_step():
    still, fresh = nn.Parameter(torch.ones(2, 3)), nn.Parameter(torch.zeros(2, 3))
    still.grad, fresh.grad = torch.zeros(2, 3), torch.ones(2, 3)
    LARS([still, fresh], lr=0.5, momentum=0).step()
    assert torch.equal(still.detach(), torch.ones(2, 3))
    assert torch.equal(fresh.detach(), torch.full((2, 3), -0.5))


def test_orthogonal_lars_is_a_schedule_on_the_norm_of_the_weights():
    p = nn.Parameter(3 * cases.planted((4, 9), 1))
    p.grad = cases.planted((4, 9), 2)
    before = p.detach().clone()
    OrthogonalLARS([p], lr=0.5, momentum=0, trust=0.1, eps=0).step()
    # |O| = sqrt(4), so the step's norm is lr trust |w|, whatever the gradient.
    moved = float((p.detach() - before).norm())
    assert moved == pytest.approx(0.5 * 0.1 * float(before.norm()), rel=1e-9)


def test_lars_words():
    p = nn.Parameter(torch.zeros(2, 2))
    with pytest.raises(ValueError, match="LARS: trust must be >= 0, got -1"):
        LARS([p], trust=-1)
    with pytest.raises(ValueError, match="nesterov must have a momentum > 0"):
        LARS([p], momentum=0, nesterov=True)
    p.grad = torch.eye(2).to_sparse()
    with pytest.raises(TypeError, match="gradients must be dense"):
        LARS([p]).step()


@pytest.mark.parametrize("name", ["Adam", "RMSprop", "Adagrad", "LARS", "SGD"])
def test_decoupled_decay_goes_past_the_base(name):
    """w (1 - lr wd), then the base's step without decay; AdamW shows that it is torch's own."""
    cls = getattr(ortho_optim, f"Orthogonal{name}")
    base = LARS if name == "LARS" else getattr(torch.optim, name)
    ours, theirs = make_params(), make_params()
    optimizer = cls(ours, lr=0.01, weight_decay=0.1, decay="decoupled")
    by_hand = base(theirs, lr=0.01, weight_decay=0)
    for step in range(5):
        for params in (ours, theirs):
            for i, p in enumerate(params):
                shape = p.shape if p.ndim > 1 else (*p.shape, 1)
                p.grad = cases.planted(shape, 100 * step + i).reshape(p.shape)
        optimizer.step()
        for p in theirs:
            p.data *= 1 - 0.01 * 0.1
        cases.step_by_hand(by_hand, theirs[:2])
    assert_close([p.detach() for p in ours], [p.detach() for p in theirs])
    assert optimizer.param_groups[0]["weight_decay"] == 0.1
    if name == "Adam":
        theirs = make_params()
        adamw = ortho_optim.OrthogonalAdamW(theirs, lr=0.01, weight_decay=0.1)
        ours = make_params()
        adam = ortho_optim.OrthogonalAdam(ours, lr=0.01, weight_decay=0.1, decay="decoupled")
        assert_close(run(adam, ours, 5), run(adamw, theirs, 5), 1e-14)


def test_the_learning_rate_inside_the_momentum_as_printed():
    """v <- momentum v + lr (O + wd w), w <- w - v: equal to torch's until the rate changes."""
    ours, theirs = make_params(), make_params()
    arguments = {"lr": 0.1, "momentum": 0.9, "weight_decay": 1e-2}
    optimizer = ortho_optim.OrthogonalSGD(ours, **arguments, lr_in_momentum=True)
    velocity = [torch.zeros_like(p) for p in theirs]
    for step in range(6):
        lr = 0.1 if step < 3 else 0.01
        optimizer.param_groups[0]["lr"] = lr
        for params in (ours, theirs):
            for i, p in enumerate(params):
                shape = p.shape if p.ndim > 1 else (*p.shape, 1)
                p.grad = cases.planted(shape, 100 * step + i).reshape(p.shape)
        raw = [p.grad.clone() for p in ours]
        optimizer.step()
        assert all(torch.equal(p.grad, g) for p, g in zip(ours, raw, strict=True))
        assert optimizer.param_groups[0]["lr"] == lr
        for p, v in zip(theirs, velocity, strict=True):
            g = cases.polar_by_hand(p.grad) if p.ndim > 1 else p.grad
            v.mul_(0.9).add_(lr * (g + 1e-2 * p.detach()))
            p.data -= v
    assert_close([p.detach() for p in ours], [p.detach() for p in theirs])


@pytest.mark.parametrize("name", ["Adam", "AdamW"])
def test_eps_in_the_root_as_printed(name):
    """At |g| << sqrt(eps) the printed form moves lr g / sqrt(eps), torch's moves lr."""
    cls = getattr(ortho_optim, f"Orthogonal{name}")
    moved = {}
    for inside in (False, True):
        p = nn.Parameter(torch.zeros(3, dtype=torch.float64))
        q = nn.Parameter(torch.zeros(2, 2, dtype=torch.float64))
        p.grad, q.grad = torch.full_like(p, 1e-6), torch.eye(2, dtype=torch.float64)
        cls([p, q], lr=1.0, weight_decay=0, eps_in_root=inside).step()
        moved[inside] = float(-p.detach()[0])
    assert moved[False] == pytest.approx(1e-6 / (1e-6 + 1e-8), rel=1e-9)
    assert moved[True] == pytest.approx(1e-6 / (1e-12 + 1e-8) ** 0.5, rel=1e-9)
    # With eps = 0 the two forms are one, decay, moments and all.
    arguments = {"lr": 0.01, "weight_decay": 0.1, "eps": 0.0}
    ours, theirs = make_params(), make_params()
    one, two = cls(ours, **arguments, eps_in_root=True), cls(theirs, **arguments)
    assert_close(run(one, ours, 10), run(two, theirs, 10), 1e-12)
    two.load_state_dict(one.state_dict())


def test_forms_that_a_base_does_not_have_are_refused():
    p = [nn.Parameter(torch.zeros(2, 2))]
    for make, words in (
        (lambda: ortho_optim.OrthogonalAdam(p, placement="update"), "must have SGD's momentum"),
        (lambda: ortho_optim.OrthogonalAdam(p, lr_in_momentum=True), "must have SGD as its base"),
        (lambda: ortho_optim.OrthogonalSGD(p, eps_in_root=True), "must have Adam or AdamW"),
        (lambda: ortho_optim.OrthogonalAdamW(p, decay="coupled"), "whose decay is coupled, got"),
        (
            lambda: ortho_optim.orthogonalize(torch.optim.Rprop)(p, decay="decoupled"),
            "must have a base with weight_decay, got Rprop",
        ),
    ):
        with pytest.raises(TypeError, match=words):
            make()
    for options, words in (
        ({"decay": "none"}, "decay must be one of"),
        ({"placement": "both"}, "placement must be one of"),
        ({"placement": "update", "lr_in_momentum": True}, "must go with placement='gradient'"),
        ({"scale": "big"}, "scale must be one of 'none', 'muon'"),
        ({"normalize": "column"}, "normalize must be one of"),
        ({"normalize": "row", "rtol": 0.1}, "must come without its options, got rtol"),
    ):
        with pytest.raises(ValueError, match=words):
            ortho_optim.OrthogonalSGD(p, **options)
    with pytest.raises(ValueError, match="must come without fused"):
        ortho_optim.OrthogonalAdam(p, eps_in_root=True, fused=True)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("SGD", {"placement": "update", "momentum": 0.9}),
        ("SGD", {"lr_in_momentum": True, "momentum": 0.9}),
        ("SGD", {"decay": "decoupled"}),
        ("Adam", {"eps_in_root": True}),
        ("LARS", {}),
        ("LARS", {"decay": "decoupled"}),
    ],
)
def test_a_rate_of_one_element_is_a_rate(name, options):
    """With a dimension, too, as torch's own optimisers take it."""
    cls, ends = getattr(ortho_optim, f"Orthogonal{name}"), []
    for lr in (0.25, torch.tensor(0.25), torch.tensor([0.25])):
        params = [*make_params(), nn.Parameter(torch.tensor(1.0, dtype=torch.float64))]
        optimizer = cls(params, lr=lr, weight_decay=0.125, **options)
        for step in range(3):
            params[3].grad = torch.tensor(step + 1.0, dtype=torch.float64)
            run_once(optimizer, params[:3], step)
        ends.append([p.detach() for p in params])
    # 1/4 and 1/8 are exact in float32, so what is left is float64's own rounding.
    for other in ends[1:]:
        assert_close(other, ends[0], 1e-13)


def test_rates_of_several_elements_are_refused():
    p = [nn.Parameter(torch.zeros(2, 2))]
    for cls in (LARS, OrthogonalLARS, ortho_optim.Muon):
        with pytest.raises(ValueError, match=r"lr must have one element, got shape \(2,\)"):
            cls(p, lr=torch.tensor([0.1, 0.1]))
