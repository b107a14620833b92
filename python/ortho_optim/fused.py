"""The fused step: SGD's or Muon's whole rule on an orthogonalised weight, in one native call.

    momentum, factor, scale, decay, update: `ortho_kernels.orthogonal_step_`

It is taken for every weight that it can serve and that is not small, and makes no buffer of all
factors, which is what it is for: on weights of 2^14 entries it takes as long as the composition, on
smaller ones longer, and their factors need little memory. What comes
between factor and update (clipping, the rate inside the momentum), what is no polar factor, what
another step than SGD's own makes of it, and what lies elsewhere than on a CPU goes the long way.
"""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.optim import SGD, Optimizer

import ortho_kernels as ok
from ortho_optim.forms import is_decoupled
from ortho_optim.momentum import direction_of, ema, sgd
from ortho_optim.views import matrix_shape

if TYPE_CHECKING:
    from ortho_optim.selection import Decision
    from ortho_optim.settings import Settings

SMALL = 2**14  # entries, below which a weight goes the long way


def can_fuse(optimizer: Optimizer, base: type, settings: Settings) -> bool:
    """Whether the optimiser's rule is one that the fused step knows, and nothing forbids it."""
    direction = direction_of(optimizer)
    own = direction is ema or (
        direction is sgd and inspect.unwrap(base.step) is inspect.unwrap(SGD.step)  # type: ignore[attr-defined]
    )
    maker = settings.make_factors
    return (
        own
        and settings.max_norm is None
        and not settings.lr_in_momentum
        and maker.normalize is None
        and maker.polar["method"] != "svd"
        and maker.polar.get("backend") in (None, "native")
        and "native" in ok.build_info()["backends"]
    )


def fusable(optimizer: Optimizer, decisions: dict[Tensor, Decision]) -> dict[Tensor, Tensor | None]:
    """The selected weights that the fused step can serve, with their gradients."""
    found: dict[Tensor, Tensor | None] = {}
    for group in optimizer.param_groups:
        if isinstance(group["lr"], Tensor) or isinstance(group["weight_decay"], Tensor):
            continue  # it stays on its device
        for param in group["params"]:
            if param.numel() < SMALL:
                continue
            grad = param.grad
            if grad is None or not decisions[param].selected:
                continue
            buffer = _buffer(optimizer, param)
            if (
                type(param) in (nn.Parameter, Tensor)
                and _stands_alone(param)
                and _serves(param, grad)
                and (buffer is None or _serves(param, buffer))
                and _is_plain(decisions[param].view)
            ):
                found[param] = grad
    return found


def _buffer(optimizer: Optimizer, param: Tensor) -> Tensor | None:
    buffer: Tensor | None = optimizer.state.get(param, {}).get("momentum_buffer")
    return buffer


def _stands_alone(param: Tensor) -> bool:
    """Whether no other weight can lie between its numbers: the op refuses what interleaves."""
    return param.is_contiguous() or param.untyped_storage().nbytes() == param.nbytes


def _serves(param: Tensor, other: Tensor) -> bool:
    return (
        type(other) is Tensor
        and other.is_cpu
        and other.dtype == param.dtype
        and other.data_ptr() != param.data_ptr()  # a gradient that is the weight itself
    )


def _is_plain(view: Any) -> bool:
    return view in ("flatten", "batch") or isinstance(view, ok.Heads)


def step(
    optimizer: Optimizer,
    settings: Settings,
    decisions: dict[Tensor, Decision],
    grads: dict[Tensor, Tensor | None],
) -> None:
    """One step on the weights that have a gradient here; buffers keep their name and formula."""
    average = direction_of(optimizer) is ema
    maker = settings.make_factors
    for group in optimizer.param_groups:
        mine = [param for param in group["params"] if grads.get(param) is not None]
        if not mine:
            continue
        coming: list[Any] = [grads[param] for param in mine]
        views = [decisions[param].view for param in mine]
        buffers, fresh = [], []
        if average or group["momentum"] != 0:
            held = [_buffer(optimizer, param) for param in mine]
            fresh = [buffer is None for buffer in held]
            # Laid out as by the unfused rules: an average as its weight, SGD's as its gradient.
            likes = mine if average else coming
            buffers = [
                torch.empty_like(like) if buffer is None else buffer
                for buffer, like in zip(held, likes, strict=True)
            ]
        decoupled = is_decoupled(group) or settings.decay == "decoupled"
        ok.orthogonal_step_(
            mine,
            coming,
            buffers,
            lr=group["lr"],
            momentum=group["momentum"],
            dampening=group.get("dampening", 0.0),
            weight_decay=group["weight_decay"],
            placement=settings.placement,
            decay="decoupled" if decoupled else "coupled",
            average=average,
            nesterov=group["nesterov"],
            maximize=group["maximize"],
            scale=[_scale(maker.scale, view, p) for p, view in zip(mine, views, strict=True)],
            fresh=fresh or False,
            view=views,
            **maker.polar,
        )
        if buffers:
            for param, buffer in zip(mine, buffers, strict=True):
                optimizer.state[param]["momentum_buffer"] = buffer


def _scale(rule: Any, view: Any, param: Tensor) -> float:
    shape = matrix_shape(view, param.shape)
    return 1.0 if rule is None or shape is None or not param.numel() else float(rule(*shape))
