"""Forms of a step that torch's optimisers lack, made by what they are given for one step.

decay="decoupled"  w <- (1 - lr decay) w, then the base's step without decay. The other way round,
                   decoupled made coupled, is not offered: AdamW without it is Adam.
lr_in_momentum     v <- momentum v + lr g, w <- w - v, as the thesis prints it: the base's step at
                   rate 1 on lr g. The same as the rate outside until the rate changes.
eps_in_root        Adam's step as the thesis prints it: lr m / sqrt(v + eps).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch.optim import SGD, Adam, Optimizer

from ortho_optim.gradients import as_real
from ortho_optim.momentum import direction_of, scalar

if TYPE_CHECKING:
    from ortho_optim.gradients import Replaced
    from ortho_optim.settings import Settings


def is_decoupled(group: dict[str, Any]) -> bool:
    """Whether the base's own decay is decoupled."""
    return bool(group.get("decoupled_weight_decay"))


def check(optimizer: Optimizer, settings: Settings) -> None:
    """Whether the base has what a form changes, told where the optimiser is made."""
    base = type(optimizer).__name__.removeprefix("Orthogonal")
    groups = optimizer.param_groups
    if settings.placement == "update" and direction_of(optimizer) is None:
        raise TypeError(
            f"orthogonalize: placement='update' must have SGD's momentum to go first, got {base}"
        )
    if settings.decay is not None and not all("weight_decay" in group for group in groups):
        raise TypeError(f"orthogonalize: decay must have a base with weight_decay, got {base}")
    if settings.decay == "coupled" and any(map(is_decoupled, groups)):
        raise TypeError(
            f"orthogonalize: decay='coupled' must have a base whose decay is coupled, got {base}"
        )
    if settings.lr_in_momentum and not isinstance(optimizer, SGD):
        raise TypeError(f"orthogonalize: lr_in_momentum must have SGD as its base, got {base}")
    if settings.eps_in_root:
        if not isinstance(optimizer, Adam):
            raise TypeError(
                f"orthogonalize: eps_in_root must have Adam or AdamW as its base, got {base}"
            )
        for flag in ("amsgrad", "foreach", "fused", "capturable"):
            if any(group[flag] for group in groups):
                raise ValueError(
                    f"orthogonalize: eps_in_root must come without {flag}, got {flag}=True"
                )


@contextmanager
def lent(optimizer: Optimizer, settings: Settings) -> Iterator[None]:
    """The base's step in the form asked for: gradients and groups as it needs them, then back."""
    if settings.decay != "decoupled" and not settings.lr_in_momentum:
        yield
        return
    before = [dict(group) for group in optimizer.param_groups]
    try:
        for group in optimizer.param_groups:
            if settings.decay == "decoupled" and not is_decoupled(group):
                _decay(group)
                group["weight_decay"] = 0.0
            if settings.lr_in_momentum:
                # A number, also of a tensor: torch's SGD takes no other decay tensor by tensor.
                group["weight_decay"] = float(group["lr"] * group["weight_decay"])
                group["lr"] = 1.0
        yield
    finally:
        for group, old in zip(optimizer.param_groups, before, strict=True):
            for name in ("lr", "weight_decay"):
                if name in old:
                    group[name] = old[name]


def _decay(group: dict[str, Any]) -> None:
    moving = [param for param in group["params"] if param.grad is not None]
    if moving and group["weight_decay"] != 0:
        torch._foreach_mul_(moving, scalar(1 - group["lr"] * group["weight_decay"]))


def times_rate(optimizer: Optimizer, replaced: Replaced) -> None:
    """For lr_in_momentum: what the base is about to see, times its group's rate.

    What stands in is ours to scale; other gradients are the user's.
    """
    standing = dict(zip(map(id, replaced.params), replaced.grads, strict=True))
    for group in optimizer.param_groups:
        rate = scalar(group["lr"])
        for param in group["params"]:
            if id(param) in standing:
                ours = standing[id(param)]
                if ours is not None:
                    ours.mul_(rate)
            elif param.grad is not None:
                replaced.stand_in(param, param.grad * rate)


def adam_with_eps_in_root(optimizer: Optimizer) -> None:
    """Adam and AdamW with the state of torch's own, so checkpoints go both ways."""
    for group in optimizer.param_groups:
        beta1, beta2 = group["betas"]
        lr, decay = scalar(group["lr"]), scalar(group["weight_decay"])
        for param in group["params"]:
            if param.grad is None:
                continue
            weight, grad = as_real(param), as_real(param.grad)
            grad = -grad if group["maximize"] else grad
            state = optimizer.state[param]
            if not state:
                state["step"] = torch.tensor(0.0)
                state["exp_avg"] = torch.zeros_like(param)
                state["exp_avg_sq"] = torch.zeros_like(param)
            state["step"] += 1
            step = float(state["step"])
            if is_decoupled(group):
                weight.mul_(1 - lr * decay)
            elif decay != 0:
                grad = grad + decay * weight
            first, second = as_real(state["exp_avg"]), as_real(state["exp_avg_sq"])
            first.lerp_(grad, 1 - beta1)
            second.mul_(beta2).addcmul_(grad, grad, value=1 - beta2)
            mean = first / (1 - beta1**step)
            square = second / (1 - beta2**step)
            weight.sub_(lr * mean / (square + group["eps"]).sqrt())
