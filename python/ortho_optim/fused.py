"""The fused step: SGD's or Muon's whole rule on an orthogonalised weight, in one native call.

    momentum, factor, scale, decay, update: `ortho_kernels.orthogonal_step_`

It is taken for every weight that it can serve, and makes no buffer of all factors. What comes
between factor and update (clipping, the rate inside the momentum), what is no polar factor, what
another step than SGD's own makes of it, and what lies elsewhere than on a CPU goes the long way.
"""

from __future__ import annotations

import inspect
from itertools import compress, repeat
from operator import attrgetter, eq, is_not
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.optim import SGD, Optimizer

import ortho_kernels as ok
from ortho_optim.forms import is_decoupled
from ortho_optim.momentum import direction_of, ema, sgd
from ortho_optim.views import matrix_shape

if TYPE_CHECKING:
    from ortho_optim.roster import Present
    from ortho_optim.settings import Settings


class Whole(NamedTuple):
    """Weights on which the fused step does all, with their raw gradients (None: skipped) and
    momentum buffers (None: none yet)."""

    params: list[Tensor]
    grads: list[Tensor | None]
    views: list[Any]
    group_of: list[int]
    buffers: list[Tensor | None]


NOTHING = Whole([], [], [], [], [])


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


def part(optimizer: Optimizer, present: Present) -> tuple[Whole, Present]:
    """What the fused step can serve, and what is left."""
    weights, grads, views, group_of = present[:4]
    state, nothing = optimizer.state, dict[str, Any]()
    buffers = [state.get(param, nothing).get("momentum_buffer") for param in weights]
    on_device = [  # a rate or a decay that stays there
        isinstance(group["lr"], Tensor) or isinstance(group["weight_decay"], Tensor)
        for group in optimizer.param_groups
    ]
    if not any(on_device) and _all_served(weights, grads, views, buffers):
        return Whole(weights, [*grads], views, group_of, buffers), present.without_weights()
    serves = [
        not on_device[group] and _serves(param, grad, view, buffer)
        for param, grad, view, group, buffer in zip(*present[:4], buffers, strict=True)
    ]
    if not any(serves):
        return NOTHING, present
    mine = present.where(serves)
    held = list(compress(buffers, serves))
    whole = Whole(mine.weights, [*mine.grads], mine.views, mine.group_of, held)
    return whole, present.where([not one for one in serves])


_TYPES = {nn.Parameter, Tensor}
_is_cpu, _dtype = attrgetter("is_cpu"), attrgetter("dtype")


def _serves(param: Tensor, grad: Tensor, view: Any, buffer: Tensor | None) -> bool:
    others = (grad,) if buffer is None else (grad, buffer)
    return (
        type(param) in _TYPES
        and (view == "flatten" or view == "batch" or isinstance(view, ok.Heads))
        # No other weight can lie between its numbers: the op refuses what interleaves.
        and (param.is_contiguous() or param.untyped_storage().nbytes() == param.nbytes)
        and all(type(one) is Tensor and one.is_cpu and one.dtype == param.dtype for one in others)
        and grad.data_ptr() != param.data_ptr()  # a gradient that is the weight itself
    )


def _all_served(
    weights: list[Tensor], grads: list[Tensor], views: list[Any], buffers: list[Tensor | None]
) -> bool:
    """Whether `_serves` says so of each of them, for the usual case and without a loop in Python.
    False asks it."""
    others: list[Any] = [*grads, *buffers]
    dtypes = list(map(_dtype, weights))
    return (
        set(map(type, weights)) <= _TYPES
        and views.count("flatten") == len(views)
        and all(map(Tensor.is_contiguous, weights))
        and set(map(type, others)) == {Tensor}
        and all(map(_is_cpu, others))
        and list(map(_dtype, others)) == dtypes * 2
        and not any(map(eq, map(Tensor.data_ptr, grads), map(Tensor.data_ptr, weights)))
    )


def step(optimizer: Optimizer, settings: Settings, whole: Whole) -> None:
    """One step on the weights that have a gradient here; buffers keep their name and formula.

    One call for all groups that agree in their numbers.
    """
    options = [_options(group, settings) for group in optimizer.param_groups]
    there = list(map(is_not, whole.grads, repeat(None)))
    if all(there) and all(one == options[0] for one in options):
        _step(optimizer, settings, whole, options[0])
        return
    kinds: list[tuple[dict[str, Any], list[int]]] = []
    for i, group in compress(enumerate(whole.group_of), there):
        mine = next((mine for numbers, mine in kinds if numbers == options[group]), None)
        if mine is None:
            kinds.append((options[group], [i]))
        else:
            mine.append(i)
    for numbers, mine in kinds:
        lists: Any = [[one[i] for i in mine] for one in whole]
        _step(optimizer, settings, Whole(*lists), numbers)


def _options(group: dict[str, Any], settings: Settings) -> dict[str, Any]:
    decoupled = is_decoupled(group) or settings.decay == "decoupled"
    return {
        "lr": group["lr"],
        "momentum": group["momentum"],
        "dampening": group.get("dampening", 0.0),
        "weight_decay": group["weight_decay"],
        "decay": "decoupled" if decoupled else "coupled",
        "nesterov": group["nesterov"],
        "maximize": group["maximize"],
    }


def _step(optimizer: Optimizer, settings: Settings, whole: Whole, options: dict[str, Any]) -> None:
    params, views = whole.params, whole.views
    grads: list[Any] = whole.grads
    buffers: list[Any] = whole.buffers
    average = direction_of(optimizer) is ema
    fresh = [buffer is None for buffer in buffers]
    if not average and options["momentum"] == 0:
        buffers, fresh = [], []
    elif any(fresh):
        # Laid out as by the unfused rules: an average as its weight, SGD's as its gradient.
        likes = params if average else grads
        buffers = [
            torch.empty_like(like) if buffer is None else buffer
            for buffer, like in zip(buffers, likes, strict=True)
        ]
    maker = settings.make_factors
    rule = maker.scale
    ok.orthogonal_step_(
        params,
        grads,
        buffers,
        placement=settings.placement,
        average=average,
        scale=1.0 if rule is None else list(map(_scale, repeat(rule), views, params)),
        fresh=any(fresh) and fresh,
        view="flatten" if views.count("flatten") == len(views) else views,
        **options,
        **maker.polar,
    )
    for param, buffer in compress(zip(params, buffers, strict=False), fresh):
        optimizer.state[param]["momentum_buffer"] = buffer


def _scale(rule: Any, view: Any, param: Tensor) -> float:
    shape = matrix_shape(view, param.shape)
    return 1.0 if shape is None or not param.numel() else float(rule(*shape))
