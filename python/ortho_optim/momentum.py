"""placement="update": momentum first, then the factor of what the base would have stepped on.

    d = direction of the base (its momentum, Nesterov and coupled decay)
    w <- (1 - lr decay) w   (decoupled decay)
    w <- w - lr scale polar(d)

The base steps on everything else as ever. Its momentum keeps its own name and formula in the
state, so checkpoints go both ways.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import torch
from torch import Tensor
from torch.optim import SGD, Optimizer

# (state, group, params, grads, decoupled) -> directions: buffers of the state or gradients
# as they are, or new tensors, which the factors are then written over.
Direction: TypeAlias = Callable[
    ["dict[Tensor, Any]", "dict[str, Any]", "list[Tensor]", "list[Tensor]", bool],
    "Sequence[Tensor]",
]


def scalar(value: Any) -> Any:
    """A rate or decay as it is, or without dimensions: torch's steps take one of one element."""
    return value.squeeze() if isinstance(value, Tensor) else value


def direction_of(optimizer: Optimizer) -> Direction | None:
    """How the base makes its direction; None if it is not of a kind that has one."""
    own: Direction | None = getattr(optimizer, "_direction", None)
    if own is not None:
        return own
    return sgd if isinstance(optimizer, SGD) else None


def sgd(
    state: dict[Tensor, Any],
    group: dict[str, Any],
    params: list[Tensor],
    grads: list[Tensor],
    decoupled: bool,
) -> Sequence[Tensor]:
    """`torch.optim.SGD`'s: v <- momentum v + (1 - dampening) g, at first v = g."""
    raw = grads
    if group["weight_decay"] != 0 and not decoupled:
        grads = list(torch._foreach_mul(params, scalar(group["weight_decay"])))
        (torch._foreach_sub_ if group["maximize"] else torch._foreach_add_)(grads, raw)
    elif group["maximize"]:
        grads = list(torch._foreach_neg(raw))
    momentum = group["momentum"]
    if momentum == 0:
        return grads
    going: list[tuple[Tensor, Tensor]] = []
    for param, grad in zip(params, grads, strict=True):
        buffer = state[param].get("momentum_buffer")
        if buffer is None:
            state[param]["momentum_buffer"] = grad.clone()
        else:
            going.append((buffer, grad))
    if going:
        held, coming = zip(*going, strict=True)
        torch._foreach_mul_(held, momentum)
        torch._foreach_add_(held, coming, alpha=1 - group["dampening"])
    buffers = [state[param]["momentum_buffer"] for param in params]
    if not group["nesterov"]:
        return buffers
    if grads is raw:
        return torch._foreach_add(grads, buffers, alpha=momentum)
    torch._foreach_add_(grads, buffers, alpha=momentum)
    return grads


def ema(
    state: dict[Tensor, Any],
    group: dict[str, Any],
    params: list[Tensor],
    grads: list[Tensor],
    decoupled: bool,
) -> Sequence[Tensor]:
    """`torch.optim.Muon`'s: v <- momentum v + (1 - momentum) g, at first v = 0."""
    raw = grads
    if group["maximize"]:
        grads = list(torch._foreach_neg(grads))
    for param in params:
        if "momentum_buffer" not in state[param]:
            state[param]["momentum_buffer"] = torch.zeros_like(param)
    buffers = [state[param]["momentum_buffer"] for param in params]
    torch._foreach_lerp_(buffers, grads, 1 - group["momentum"])
    if not group["nesterov"]:
        return buffers
    if grads is raw:
        return torch._foreach_lerp(grads, buffers, group["momentum"])
    torch._foreach_lerp_(grads, buffers, group["momentum"])
    return grads


def over(
    state: dict[Tensor, Any], params: Sequence[Tensor], directions: Sequence[Tensor]
) -> list[Tensor] | None:
    """Where the factors go: over directions that a step has made, not gradients or buffers."""
    ours = [
        d is not p.grad and all(d is not held for held in state[p].values())
        for p, d in zip(params, directions, strict=True)
    ]
    if not any(ours):
        return None
    made = zip(directions, ours, strict=True)
    return [d if mine else torch.empty_like(d) for d, mine in made]


def apply(group: dict[str, Any], params: list[Tensor], factors: list[Tensor], decay: bool) -> None:
    """The update; the factors are ours, and used up."""
    lr, weight_decay = scalar(group["lr"]), scalar(group["weight_decay"])
    if decay and weight_decay != 0:
        torch._foreach_mul_(params, 1 - lr * weight_decay)
    if isinstance(lr, Tensor):  # stays on its device
        torch._foreach_mul_(factors, lr)
        lr = 1.0
    torch._foreach_add_(params, factors, alpha=-lr)
