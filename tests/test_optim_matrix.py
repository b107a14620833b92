"""Every base, in every way torch can run it, in every kind of training loop: the same values.

The reference shares no code with the optimisers under test: gradients by their formula instead of
autograd, polar factors by a float64 SVD, what the loop does written out on numbers, and the base's
own step tensor by tensor. LARS, which torch lacks, is checked by its formula in
test_optim_classes.py.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable

import optim_cases as cases
import pytest
import torch
from torch import Tensor, nn
from torch.amp import GradScaler
from torch.optim import Optimizer
from torch.optim.lr_scheduler import StepLR

import ortho_optim

STEPS = 5
LR, MAX_NORM, PULL = 0.01, 0.5, 0.01
OVERFLOW = 2  # the step whose scaled loss is infinite
# Five steps of float64 with a polar factor good to 1e-9 each.
BOUND = 1e-8
SHAPES = [(6, 4, 3, 3), (5, 12), (7,)]

BASES = {
    "SGD": {"momentum": 0.9, "weight_decay": 0.1, "nesterov": True},
    "Adam": {"weight_decay": 0.1},
    "AdamW": {"weight_decay": 0.1},
    "RMSprop": {"weight_decay": 0.1, "momentum": 0.9, "centered": True},
    "Adagrad": {"weight_decay": 0.1, "lr_decay": 0.1},
    "LARS": {"weight_decay": 0.1, "trust": 0.5},
}


def base_of(name: str) -> type[Optimizer]:
    return ortho_optim.LARS if name == "LARS" else getattr(torch.optim, name)


def offers(name: str, way: str) -> bool:
    return way != "fused" or "fused" in inspect.signature(base_of(name)).parameters


CELLS = [(name, way) for name in BASES for way in cases.WAYS if offers(name, way)]


def make_params() -> list[nn.Parameter]:
    shapes = [s if len(s) > 1 else (*s, 1) for s in SHAPES]
    return [
        nn.Parameter(cases.planted(s, 7).reshape(t).clone())
        for s, t in zip(shapes, SHAPES, strict=True)
    ]


def push(step: int, params: list[nn.Parameter]) -> list[Tensor]:
    """A well-conditioned part of each gradient; the bias's grows, so that its clipping shows."""
    parts = []
    for i, p in enumerate(params):
        shape = tuple(p.shape) if p.ndim > 1 else (*p.shape, 1)
        part = cases.planted(shape, 100 * step + i).reshape(p.shape)
        parts.append(part if p.ndim > 1 else (step + 1) * part)
    return parts


def loss_of(step: int, params: list[nn.Parameter]) -> Tensor:
    """Its gradient is push + PULL w."""
    terms = [
        (g * p).sum() + PULL / 2 * p.square().sum()
        for g, p in zip(push(step, params), params, strict=True)
    ]
    return torch.stack(terms).sum()


# ---- The loops under test ------------------------------------------------------------------------


def plain(optimizer: Optimizer, params: list[nn.Parameter]) -> None:
    for step in range(STEPS):
        optimizer.zero_grad()
        loss_of(step, params).backward()
        optimizer.step()


def amp(optimizer: Optimizer, params: list[nn.Parameter]) -> None:
    scaler = GradScaler("cpu", init_scale=2.0**16)  # a power of two: unscaling is exact
    for step in range(STEPS):
        optimizer.zero_grad()
        loss = loss_of(step, params) * (math.inf if step == OVERFLOW else 1.0)
        scaler.scale(loss).backward()
        scaler.step(optimizer)
        scaler.update()
    assert scaler.get_scale() == 2.0**15


def closure(optimizer: Optimizer, params: list[nn.Parameter]) -> None:
    for step in range(STEPS):

        def evaluate(step: int = step) -> Tensor:
            optimizer.zero_grad()
            loss = loss_of(step, params)
            loss.backward()
            return loss

        before = loss_of(step, params).detach()
        assert torch.equal(optimizer.step(evaluate), before)


def accumulation(optimizer: Optimizer, params: list[nn.Parameter]) -> None:
    """Two halves that are each far from the whole, whose gradients add up to it."""
    for step in range(STEPS):
        optimizer.zero_grad()
        for sign in (1, -1):
            pairs = zip(push(9, params), params, strict=True)
            apart = torch.stack([(g.roll(1, 0) * p).sum() for g, p in pairs]).sum()
            (0.5 * loss_of(step, params) + sign * apart).backward()
        optimizer.step()


def clip_raw(optimizer: Optimizer, params: list[nn.Parameter]) -> None:
    for step in range(STEPS):
        optimizer.zero_grad()
        loss_of(step, params).backward()
        nn.utils.clip_grad_norm_(params, MAX_NORM)
        optimizer.step()


def scheduler(optimizer: Optimizer, params: list[nn.Parameter]) -> None:
    schedule = StepLR(optimizer, step_size=2, gamma=0.1)
    for step in range(STEPS):
        optimizer.zero_grad()
        loss_of(step, params).backward()
        optimizer.step()
        schedule.step()


LOOPS: dict[str, tuple[Callable[[Optimizer, list[nn.Parameter]], None], dict]] = {
    "plain": (plain, {}),
    "amp": (amp, {}),
    "closure": (closure, {}),
    "accumulation": (accumulation, {}),
    "clip raw": (clip_raw, {}),
    "clip orthogonalized": (plain, {"clip": "orthogonalized", "max_norm": MAX_NORM}),
    "scheduler": (scheduler, {}),
    "maximize": (plain, {"maximize": True}),
}


# ---- The same, composed by hand ------------------------------------------------------------------


def clipped(grads: list[Tensor]) -> list[Tensor]:
    norm = math.sqrt(sum(float(g.square().sum()) for g in grads))
    return [g * min(1.0, MAX_NORM / (norm + 1e-6)) for g in grads]  # torch's 1e-6


def composed(name: str, loop: str) -> list[Tensor]:
    params = make_params()
    optimizer = base_of(name)(params, lr=LR, foreach=False, **BASES[name])
    for step in range(STEPS):
        if loop == "amp" and step == OVERFLOW:
            continue
        if loop == "scheduler":
            optimizer.param_groups[0]["lr"] = LR * 0.1 ** (step // 2)
        grads = [g + PULL * p.detach() for g, p in zip(push(step, params), params, strict=True)]
        if loop == "clip raw":
            grads = clipped(grads)
        grads = [cases.polar_by_hand(g) if g.ndim > 1 else g for g in grads]
        if loop == "clip orthogonalized":
            grads = clipped(grads)
        for p, g in zip(params, grads, strict=True):
            p.grad = -g if loop == "maximize" else g
        optimizer.step()
    return [p.detach() for p in params]


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize(("name", "way"), CELLS)
def test_the_weights_are_those_of_the_composition(name, way, loop):
    run, options = LOOPS[loop]
    params = make_params()
    cls = getattr(ortho_optim, f"Orthogonal{name}")
    run(cls(params, lr=LR, **BASES[name], **cases.WAYS[way], **options), params)
    for p, q in zip(params, composed(name, loop), strict=True):
        assert float((p.detach() - q).norm() / q.norm()) < BOUND


@pytest.mark.parametrize(
    "loop", [n for n in LOOPS if n not in ("plain", "closure", "accumulation")]
)
@pytest.mark.parametrize("name", BASES)
def test_every_loop_leads_elsewhere(name, loop):
    """So that the test above would see it left out: Adam, say, hardly minds a constant factor."""
    there, plainly = composed(name, loop), composed(name, "plain")
    apart = max(float((p - q).norm() / q.norm()) for p, q in zip(there, plainly, strict=True))
    assert apart > 1e5 * BOUND


def test_every_base_is_run_in_every_way_it_has():
    fused = {name for name, way in CELLS if way == "fused"}
    assert fused == {"SGD", "Adam", "AdamW", "Adagrad"}
    assert len(CELLS) == 2 * len(BASES) + len(fused)
