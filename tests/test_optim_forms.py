"""Forms of a step by their printed formulas, and that every class and form resumes exactly."""

from __future__ import annotations

import copy
import io
import pickle

import optim_cases as cases
import pytest
import torch
from torch import Tensor, nn

import ortho_kernels as ok
import ortho_optim
from ortho_optim import transposed

SHAPES = [(6, 4, 3, 3), (5, 12), (7,)]
STEPS = 8
# Steps of float64 with a polar factor good to 1e-9 each; Adam divides by no less than sqrt(eps).
BOUND = 1e-8


def make_params() -> list[nn.Parameter]:
    shapes = [s if len(s) > 1 else (*s, 1) for s in SHAPES]
    return [
        nn.Parameter(cases.planted(s, 7).reshape(t).clone())
        for s, t in zip(shapes, SHAPES, strict=True)
    ]


def gradients(step: int, params: list[nn.Parameter]) -> list[Tensor]:
    shapes = [tuple(p.shape) if p.ndim > 1 else (*p.shape, 1) for p in params]
    return [
        cases.planted(s, 100 * step + i).reshape(p.shape) + 0.01 * p.detach()
        for i, (s, p) in enumerate(zip(shapes, params, strict=True))
    ]


def run(optimizer, params, rate):
    for step in range(STEPS):
        optimizer.param_groups[0]["lr"] = rate(step)
        for p, g in zip(params, gradients(step, params), strict=True):
            p.grad = g
        optimizer.step()
        assert optimizer.param_groups[0]["lr"] == rate(step)


def factors(step: int, params: list[nn.Parameter], sign: int) -> list[Tensor]:
    return [sign * (cases.polar_by_hand(g) if g.ndim > 1 else g) for g in gradients(step, params)]


def assert_close(ours, theirs):
    for p, q in zip(ours, theirs, strict=True):
        assert float((p - q).detach().norm() / q.detach().norm()) < BOUND


@pytest.mark.parametrize("maximize", [False, True])
@pytest.mark.parametrize("decay", ["coupled", "decoupled"])
@pytest.mark.parametrize("way", cases.WAYS)
@pytest.mark.parametrize("momentum", [{}, {"dampening": 0.3}, {"nesterov": True}])
def test_the_rate_inside_the_momentum(momentum, way, decay, maximize):
    """v <- mu v + (1 - tau) lr (O + wd w), at first v = lr (O + wd w), under a falling rate."""
    mu, wd, tau = 0.9, 0.1, momentum.get("dampening", 0.0)

    def rate(step):
        return 0.1 if step < 4 else 0.02

    ours, theirs = make_params(), make_params()
    options = {"lr_in_momentum": True, "decay": decay, "maximize": maximize}
    optimizer = ortho_optim.OrthogonalSGD(
        ours, lr=1.0, momentum=mu, weight_decay=wd, **momentum, **options, **cases.WAYS[way]
    )
    run(optimizer, ours, rate)
    velocity: list[Tensor] = []
    for step in range(STEPS):
        lr = rate(step)
        made = factors(step, theirs, -1 if maximize else 1)
        if decay == "decoupled":
            for p in theirs:
                p.data *= 1 - lr * wd
            steps = [lr * o for o in made]
        else:
            steps = [lr * (o + wd * p.detach()) for o, p in zip(made, theirs, strict=True)]
        if not velocity:
            velocity = [s.clone() for s in steps]
        else:
            velocity = [mu * v + (1 - tau) * s for v, s in zip(velocity, steps, strict=True)]
        for p, v, s in zip(theirs, velocity, steps, strict=True):
            p.data -= s + mu * v if "nesterov" in momentum else v
    assert_close(ours, theirs)
    assert optimizer.param_groups[0]["weight_decay"] == wd


def test_clipping_comes_before_the_rate_inside_the_momentum():
    """Else the norm that is clipped would fall with the rate."""
    ours, theirs = make_params(), make_params()
    clip = {"clip": "orthogonalized", "max_norm": 0.5}
    arguments = {"lr": 0.03, "momentum": 0.9}
    run(
        ortho_optim.OrthogonalSGD(ours, **arguments, **clip, lr_in_momentum=True),
        ours,
        lambda _: 0.03,
    )
    run(ortho_optim.OrthogonalSGD(theirs, **arguments, **clip), theirs, lambda _: 0.03)
    assert_close(ours, theirs)  # at a constant rate the two are one


@pytest.mark.parametrize("name", ["Adam", "AdamW"])
@pytest.mark.parametrize("maximize", [False, True])
@pytest.mark.parametrize("decay", [None, "decoupled"])
def test_eps_in_the_root(name, maximize, decay):
    """m, v of O (+ wd w); w <- w - lr m^ / sqrt(v^ + eps)."""
    wd, eps, (b1, b2) = 0.1, 1e-2, (0.8, 0.95)

    def rate(step):
        return 0.05 / (1 + step)

    ours, theirs = make_params(), make_params()
    optimizer = getattr(ortho_optim, f"Orthogonal{name}")(
        ours,
        weight_decay=wd,
        eps=eps,
        betas=(b1, b2),
        maximize=maximize,
        decay=decay,
        eps_in_root=True,
    )
    run(optimizer, ours, rate)
    mean = [torch.zeros_like(p) for p in theirs]
    square = [torch.zeros_like(p) for p in theirs]
    decoupled = name == "AdamW" or decay == "decoupled"
    for step in range(STEPS):
        made = factors(step, theirs, -1 if maximize else 1)
        for p, g, m, v in zip(theirs, made, mean, square, strict=True):
            if decoupled:
                p.data *= 1 - rate(step) * wd
            else:
                g = g + wd * p.detach()
            m.mul_(b1).add_((1 - b1) * g)
            v.mul_(b2).add_((1 - b2) * g**2)
            m_hat, v_hat = m / (1 - b1 ** (step + 1)), v / (1 - b2 ** (step + 1))
            p.data -= rate(step) * m_hat / (v_hat + eps).sqrt()
    assert_close(ours, theirs)


@pytest.mark.parametrize(
    ("name", "way"),
    [(n, w) for n in ("SGD", "Adam", "Adagrad") for w in cases.WAYS]
    + [(n, w) for n in ("RMSprop", "LARS") for w in ("plain", "foreach")],
)
def test_decoupled_decay_in_every_way_under_a_schedule(name, way):
    base = ortho_optim.LARS if name == "LARS" else getattr(torch.optim, name)

    def rate(step):
        return 0.05 / (1 + step)

    ours, theirs, wd = make_params(), make_params(), 0.1
    cls = getattr(ortho_optim, f"Orthogonal{name}")
    arguments = {"weight_decay": wd, "maximize": True}
    run(cls(ours, **arguments, decay="decoupled", **cases.WAYS[way]), ours, rate)
    by_hand = base(theirs, weight_decay=0, foreach=False)
    for step in range(STEPS):
        by_hand.param_groups[0]["lr"] = rate(step)
        for p, o in zip(theirs, factors(step, theirs, -1), strict=True):
            p.grad = o
            p.data *= 1 - rate(step) * wd
        by_hand.step()
    assert_close(ours, theirs)


# ---- Resuming ------------------------------------------------------------------------------------

MOMENTUM = {"lr": 0.01, "momentum": 0.9, "weight_decay": 1e-2}
HEADS = {"view": {"head": ok.heads(2), "up": transposed(2)}}
CASES = {
    **{f"{n}-fused": (n, {"lr": 0.01, "fused": True}) for n in ("SGD", "Adam", "AdamW", "Adagrad")},
    "LARS": ("LARS", MOMENTUM),
    "LARS-nesterov": ("LARS", {**MOMENTUM, "nesterov": True, "foreach": False}),
    "LARS-decoupled": ("LARS", {**MOMENTUM, "decay": "decoupled"}),
    "RMSprop": ("RMSprop", {**MOMENTUM, "centered": True}),
    "Adagrad": ("Adagrad", {"lr": 0.01, "lr_decay": 0.1, "decay": "decoupled"}),
    "amsgrad": ("Adam", {"lr": 0.01, "amsgrad": True}),
    "Adam-eps": ("Adam", {"lr": 0.01, "eps_in_root": True, "weight_decay": 1e-2}),
    "AdamW-eps": ("AdamW", {"lr": 0.01, "eps_in_root": True}),
    "AdamW-clip": ("AdamW", {"lr": 0.01, "clip": "orthogonalized", "max_norm": 0.5}),
    "SGD-rate": ("SGD", {**MOMENTUM, "lr_in_momentum": True}),
    "SGD-update": ("SGD", {**MOMENTUM, "placement": "update", "scale": "spectral"}),
    "SGD-views": ("SGD", {**MOMENTUM, **HEADS, "scale": "muon"}),
    "SGD-row": ("SGD", {**MOMENTUM, **HEADS, "normalize": "row"}),
    "Adam-tensor": ("Adam", {"lr": 0.01, "normalize": "tensor", "scale": "match_rms_adamw"}),
    "Muon": ("Muon", {"lr": 0.01, "scale": "match_rms_adamw"}),
}


def make(case, net):
    name, arguments = CASES[case]
    if name != "Muon":
        return getattr(ortho_optim, f"Orthogonal{name}")(net, **arguments)
    matrices = [(n, p) for n, p in net.named_parameters() if p.ndim > 1]
    return ortho_optim.Muon(matrices, **arguments)


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("copier", ["checkpoint", "deepcopy", "pickle"])
def test_resume_in_the_middle_is_bit_identical(case, copier):
    whole = cases.make_net()
    cases.train(whole, make(case, whole), range(6))
    net = cases.make_net()
    optimizer = make(case, net)
    cases.train(net, optimizer, range(3))
    if copier == "deepcopy":
        net, optimizer = copy.deepcopy((net, optimizer))
    elif copier == "pickle":
        net, optimizer = pickle.loads(pickle.dumps((net, optimizer)))
    else:
        file = io.BytesIO()
        torch.save({"model": net.state_dict(), "optimizer": optimizer.state_dict()}, file)
        file.seek(0)
        saved = torch.load(file, weights_only=True)
        net = cases.make_net(seed=1)
        net.load_state_dict(saved["model"])
        optimizer = make(case, net)
        optimizer.load_state_dict(saved["optimizer"])
    cases.train(net, optimizer, range(3, 6))
    cases.assert_same_bits(cases.weights(net), cases.weights(whole))


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("Adam", {"eps_in_root": True, "eps": 1e-2, "weight_decay": 0.1}),
        ("SGD", {"lr_in_momentum": True, "momentum": 0.9, "weight_decay": 0.1}),
        ("SGD", {"decay": "decoupled", "weight_decay": 0.1}),
        ("SGD", {"placement": "update", "momentum": 0.9, "nesterov": True}),
        ("AdamW", {"clip": "orthogonalized", "max_norm": 0.5}),
        ("LARS", {"weight_decay": 0.1, "nesterov": True}),
        ("SGD", {"nonfinite": "zero", "momentum": 0.9}),
    ],
)
def test_complex_vectors_are_pairs_of_numbers(name, options):
    """As in torch's own steps, also where a form replaces one."""
    ends = []
    for as_pairs in (False, True):
        vector = torch.tensor([1 + 2j, 3 - 1j, -2j], dtype=torch.cdouble)
        bias = nn.Parameter(torch.view_as_real(vector).flatten() if as_pairs else vector)
        matrix = nn.Parameter(cases.planted((5, 12), 7).clone())
        cls = getattr(ortho_optim, f"Orthogonal{name}")
        optimizer = cls([matrix, bias], lr=0.1, **options)
        for step in range(4):
            matrix.grad = cases.planted((5, 12), step).clone()
            grad = torch.tensor([2 - 1j, 1j + step, 1 - step], dtype=torch.cdouble)
            if step == 2 and "nonfinite" in options:
                grad[:] = torch.tensor(complex(0, float("nan")))
            bias.grad = torch.view_as_real(grad).flatten() if as_pairs else grad
            optimizer.step()
        end = bias.detach() if as_pairs else torch.view_as_real(bias.detach()).flatten()
        ends.append((end, matrix.detach()))
    for one, other in zip(*ends, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-12, atol=0)
