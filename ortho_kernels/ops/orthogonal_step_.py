"""The op `orthogonal_step_`: momentum, polar factor, scale, decay and weight update in one call."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import repeat
from typing import Any

import torch
from torch import Tensor

from ortho_kernels import checks, matrices
from ortho_kernels.coefficients import Triple
from ortho_kernels.matrices import View
from ortho_kernels.ops import polar_gradient, registry
from ortho_kernels.ops.polar import BACKENDS, OPTIONS, resolve
from ortho_kernels.options import PolarOptions, given
from ortho_kernels.steps import StepOptions, StepTensors
from ortho_kernels.tensors import (
    check_all_on_meta,
    check_inputs,
    check_tensors,
    fake_layout,
    layout,
)

NAME = "orthogonal_step_"

# ---- Public function ----------------------------------------------------------------------------


def orthogonal_step_(
    weights: Iterable[Tensor],
    gradients: Iterable[Tensor],
    momenta: Iterable[Tensor] | None = None,
    method: str = "auto",
    *,
    lr: float,
    momentum: float = 0.0,
    dampening: float = 0.0,
    weight_decay: float = 0.0,
    placement: str = "gradient",
    decay: str = "coupled",
    average: bool = False,
    nesterov: bool = False,
    maximize: bool = False,
    scale: float | Sequence[float] = 1.0,
    fresh: bool | Sequence[bool] = False,
    view: View | Sequence[View] = "flatten",
    coefficients: str | Sequence[Triple] | None = None,
    steps: int | None = None,
    precision: str | None = None,
    rank: str = "truncate",
    rtol: float | str | None = None,
    backend: str | None = None,
) -> None:
    """One optimiser step on weights and momenta, in place; gradients are read.

    placement: "gradient": the polar factor of the gradient, then momentum, as SGD on orthogonalised
        gradients; "update": momentum, then the factor of what it makes, as Muon.
    average: the buffer is momentum v + (1 - momentum) g, as Muon's, not SGD's
        momentum v + (1 - dampening) g.
    decay: "coupled" adds weight_decay w to what goes into the momentum, "decoupled" takes
        lr weight_decay w off the weight.
    scale: what each factor is multiplied by, one number or one per tensor.
    fresh: the buffer holds nothing yet and is not read: SGD's starts as its first gradient, an
        average at zero. One for all, or one per tensor.
    view: as in `polar_foreach`, but no callable.

    All other arguments are those of `polar`. Weights, gradients and momenta agree in shape, dtype
    and device. A gradient that holds a NaN or an Inf makes NaN of its own matrix and no other.
    """
    weights, gradients = list(weights), list(gradients)
    momenta = [] if momenta is None else list(momenta)
    for name, tensors in (("weights", weights), ("gradients", gradients), ("momenta", momenta)):
        check_tensors(NAME, name, tensors)
    options = given(NAME, coefficients, steps, precision, rank, rtol, backend)
    row_blocks = matrices.resolve_views(NAME, view, len(weights))
    if not all(isinstance(one, int) for one in row_blocks):
        raise ValueError(f"{NAME}: view must be 'flatten', 'batch' or heads(n), got a callable")
    count = len(weights)
    scales = [scale] * count if isinstance(scale, (int, float)) else list(scale)
    flags = [fresh] * count if isinstance(fresh, bool) else list(fresh)
    at_once = registry.nobody_waits(weights, gradients, momenta)
    (_at_once if at_once else _op)(
        weights,
        gradients,
        momenta,
        row_blocks,
        scales,
        flags,
        lr,
        momentum,
        dampening,
        weight_decay,
        placement,
        decay,
        average,
        nesterov,
        maximize,
        method,
        **options,
    )


# ---- Schema -------------------------------------------------------------------------------------

# momenta: empty for none; row_blocks as in ortho.h.
SCHEMA = (
    "(Tensor(a!)[] weights, Tensor[] gradients, Tensor(b!)[] momenta, int[] row_blocks, "
    "float[] scales, bool[] fresh, float lr, float momentum=0.0, float dampening=0.0, "
    'float weight_decay=0.0, str placement="gradient", str decay="coupled", bool average=False, '
    f"bool nesterov=False, bool maximize=False, {OPTIONS}) -> ()"
)

_WORDS = len(StepOptions.__dataclass_fields__)


def _resolve(*args: Any, **kwargs: Any) -> tuple[StepOptions, PolarOptions, str | None]:
    """The schema's arguments from `lr` on, checked."""
    words = {name: kwargs.pop(name) for name in StepOptions.__dataclass_fields__ if name in kwargs}
    step = StepOptions(*args[:_WORDS], **words)
    step.check(NAME)
    return step, *resolve(NAME, *args[_WORDS:], **kwargs)


_LISTS = len(StepTensors._fields)


def _split(args: tuple[Any, ...]) -> tuple[StepTensors, tuple[Any, ...]]:
    """The schema's lists, checked against each other, and what comes after them."""
    tensors = StepTensors(*args[:_LISTS])
    tensors.check(NAME)
    return tensors, args[_LISTS:]


# ---- Fake ---------------------------------------------------------------------------------------


def _fake(*args: Any, **kwargs: Any) -> None:
    tensors, rest = _split(args)
    _resolve(*rest, **kwargs)
    gradients = tensors.gradients
    check_inputs(NAME, gradients, tensors.row_blocks, "gradients")
    for name, written in (("weights", tensors.weights), ("momenta", tensors.momenta)):
        for i, (one, gradient) in enumerate(zip(written, gradients[: len(written)], strict=True)):
            like = fake_layout(gradient)
            checks.check_like(NAME, f"{name}[{i}]", f"gradients[{i}]", fake_layout(one), like)
    check_all_on_meta(NAME, gradients, "gradients")


# ---- Backend order ------------------------------------------------------------------------------


def _check(tensors: StepTensors) -> None:
    """All that could fail, before anything is written."""
    check_inputs(NAME, tensors.gradients, tensors.row_blocks, "gradients")
    arrays: list[tuple[str, checks.Layout, bool]] = []
    for i, gradient in enumerate(tensors.gradients):
        like = layout(gradient)
        arrays.append((f"gradients[{i}]", like, False))
        for name, written in (("weights", tensors.weights), ("momenta", tensors.momenta)):
            if written:
                one = layout(written[i])
                checks.check_output(NAME, f"{name}[{i}]", f"gradients[{i}]", one, like)
                arrays.append((f"{name}[{i}]", one, True))
    checks.check_disjoint(NAME, arrays)


def _kernel(*args: Any, **kwargs: Any) -> None:
    """Each backend serves, in one call, all tensors that none before it could.

    What takes all of them checks them itself in the same words before it writes; otherwise they are
    checked here first, for no backend may write before the last has seen its own.
    """
    tensors, rest = _split(args)
    step, options, backend = _resolve(*rest, **kwargs)
    if not tensors.weights:
        return
    names = tuple(BACKENDS) if backend is None else (backend,)
    if names[0] == "native":
        first = BACKENDS["native"].supports_orthogonal_step_
        if not any(map(first, repeat(options), tensors.gradients)):
            BACKENDS["native"].orthogonal_step_(options, step, tensors)
            return
    _check(tensors)
    served: dict[str, list[int]] = {name: [] for name in names}
    for i, gradient in enumerate(tensors.gradients):
        for name in names:
            reason = BACKENDS[name].supports_orthogonal_step_(options, gradient)
            if not reason:
                served[name].append(i)
                break
        else:
            checks.refuse_backend(NAME, name, reason)
    for name, mine in served.items():
        if mine:
            BACKENDS[name].orthogonal_step_(options, step, tensors.pick(mine))


# ---- Gradient -----------------------------------------------------------------------------------


def _at_once(
    weights: Sequence[Tensor],
    gradients: Sequence[Tensor],
    momenta: Sequence[Tensor],
    *args: Any,
    kernel: Callable[..., None] = _kernel,
    **kwargs: Any,
) -> None:
    """What the dispatcher would come to; its two trips cost more than a small step."""
    if torch.is_grad_enabled():
        for name, tensors in (("weights", weights), ("gradients", gradients), ("momenta", momenta)):
            for i, tensor in enumerate(tensors):
                if tensor.requires_grad:
                    raise RuntimeError(
                        f"{NAME}: {name}[{i}] must not meet automatic differentiation, got a "
                        "tensor that requires grad; use torch.no_grad()"
                    )
    kernel(weights, gradients, momenta, *args, **kwargs)
    polar_gradient.mark_written((*weights, *momenta))


def _below(*args: Any, **kwargs: Any) -> None:
    with registry.below_autograd():
        _op(*args, **kwargs)


def _autograd(*args: Any, **kwargs: Any) -> None:
    _at_once(*args, kernel=_below, **kwargs)


_op = registry.register(NAME, SCHEMA, kernel=_kernel, fake=_fake, autograd=_autograd)
