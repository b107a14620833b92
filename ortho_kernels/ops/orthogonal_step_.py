"""The op `orthogonal_step_`: momentum, polar factor, scale, decay and weight update in one call."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor

from ortho_kernels import checks, matrices
from ortho_kernels.coefficients import Triple
from ortho_kernels.matrices import View
from ortho_kernels.ops import polar_gradient, registry
from ortho_kernels.ops.polar import BACKENDS, OPTIONS, resolve
from ortho_kernels.options import PolarOptions, given
from ortho_kernels.steps import StepOptions
from ortho_kernels.tensors import (
    check_all_on_meta,
    check_inputs,
    check_tensor,
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
        for i, tensor in enumerate(tensors):
            check_tensor(NAME, f"{name}[{i}]", tensor)
    options = given(NAME, coefficients, steps, precision, rank, rtol, backend)
    row_blocks = matrices.resolve_views(NAME, view, len(weights))
    if not all(isinstance(one, int) for one in row_blocks):
        raise ValueError(f"{NAME}: view must be 'flatten', 'batch' or heads(n), got a callable")
    count = len(weights)
    scales = [scale] * count if isinstance(scale, (int, float)) else list(scale)
    flags = [fresh] * count if isinstance(fresh, bool) else list(fresh)
    _op(
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


def _check_lengths(
    weights: Sequence[Tensor],
    gradients: Sequence[Tensor],
    momenta: Sequence[Tensor],
    row_blocks: Sequence[int],
    scales: Sequence[float],
    fresh: Sequence[bool],
) -> None:
    lists = {"gradients": gradients, "row_blocks": row_blocks, "scales": scales, "fresh": fresh}
    if momenta:
        lists["momenta"] = momenta
    for name, one in lists.items():
        if len(one) != len(weights):
            raise ValueError(
                f"{NAME}: {name} must have length {len(weights)} like weights, got {len(one)}"
            )
    for i, scale in enumerate(scales):
        if not math.isfinite(scale):
            raise ValueError(f"{NAME}: scales[{i}] must be finite, got {scale}")


# ---- Fake ---------------------------------------------------------------------------------------


def _fake(
    weights: Sequence[Tensor],
    gradients: Sequence[Tensor],
    momenta: Sequence[Tensor],
    row_blocks: Sequence[int],
    scales: Sequence[float],
    fresh: Sequence[bool],
    *args: Any,
    **kwargs: Any,
) -> None:
    _resolve(*args, **kwargs)
    _check_lengths(weights, gradients, momenta, row_blocks, scales, fresh)
    check_inputs(NAME, gradients, row_blocks, "gradients")
    for name, written in (("weights", weights), ("momenta", momenta)):
        for i, (one, gradient) in enumerate(zip(written, gradients[: len(written)], strict=True)):
            like = fake_layout(gradient)
            checks.check_like(NAME, f"{name}[{i}]", f"gradients[{i}]", fake_layout(one), like)
    check_all_on_meta(NAME, gradients, "gradients")


# ---- Backend order ------------------------------------------------------------------------------


def _check(
    weights: Sequence[Tensor],
    gradients: Sequence[Tensor],
    momenta: Sequence[Tensor],
    row_blocks: Sequence[int],
) -> None:
    """All that could fail, before anything is written."""
    check_inputs(NAME, gradients, row_blocks, "gradients")
    arrays: list[tuple[str, checks.Layout, bool]] = []
    for i, gradient in enumerate(gradients):
        like = layout(gradient)
        for name, tensors in (("weights", weights), ("gradients", ()), ("momenta", momenta)):
            if name == "gradients":
                arrays.append((f"gradients[{i}]", like, False))
            elif tensors:
                one = layout(tensors[i])
                checks.check_output(NAME, f"{name}[{i}]", f"gradients[{i}]", one, like)
                arrays.append((f"{name}[{i}]", one, True))
    checks.check_disjoint(NAME, arrays)


def _kernel(
    weights: Sequence[Tensor],
    gradients: Sequence[Tensor],
    momenta: Sequence[Tensor],
    row_blocks: Sequence[int],
    scales: Sequence[float],
    fresh: Sequence[bool],
    *args: Any,
    **kwargs: Any,
) -> None:
    """Each backend serves, in one call, all tensors that none before it could.

    What takes all of them checks them itself in the same words before it writes; otherwise they are
    checked here first, for no backend may write before the last has seen its own.
    """
    step, options, backend = _resolve(*args, **kwargs)
    _check_lengths(weights, gradients, momenta, row_blocks, scales, fresh)
    if not gradients:
        return
    lists = (weights, gradients, momenta, row_blocks, scales, fresh)
    names = tuple(BACKENDS) if backend is None else (backend,)
    first = BACKENDS[names[0]].supports_orthogonal_step_
    if names[0] == "native" and not any(first(options, gradient) for gradient in gradients):
        BACKENDS["native"].orthogonal_step_(options, step, *lists)
        return
    _check(weights, gradients, momenta, row_blocks)
    served: dict[str, list[int]] = {name: [] for name in names}
    for i, gradient in enumerate(gradients):
        for name in names:
            reason = BACKENDS[name].supports_orthogonal_step_(options, gradient)
            if not reason:
                served[name].append(i)
                break
        else:
            checks.refuse_backend(NAME, name, reason)
    for name, mine in served.items():
        if mine:
            picked = [[one[i] for i in mine] if one else [] for one in lists]
            BACKENDS[name].orthogonal_step_(options, step, *picked)


# ---- Gradient -----------------------------------------------------------------------------------


def _autograd(
    weights: Sequence[Tensor],
    gradients: Sequence[Tensor],
    momenta: Sequence[Tensor],
    *args: Any,
    **kwargs: Any,
) -> None:
    if torch.is_grad_enabled():
        for name, tensors in (("weights", weights), ("gradients", gradients), ("momenta", momenta)):
            for i, tensor in enumerate(tensors):
                if tensor.requires_grad:
                    raise RuntimeError(
                        f"{NAME}: {name}[{i}] must not meet automatic differentiation, got a "
                        "tensor that requires grad; use torch.no_grad()"
                    )
    with registry.below_autograd():
        _op(weights, gradients, momenta, *args, **kwargs)
    polar_gradient.mark_written((*weights, *momenta))


_op = registry.register(NAME, SCHEMA, kernel=_kernel, fake=_fake, autograd=_autograd)
