"""The op `polar_foreach`: the polar factors of a whole model's gradients in one call."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor

from ortho_kernels import checks, matrices
from ortho_kernels.coefficients import Triple
from ortho_kernels.matrices import CallableView, View
from ortho_kernels.ops import polar_gradient, registry
from ortho_kernels.ops.polar import BACKENDS, OPTIONS, resolve
from ortho_kernels.options import PolarOptions, given
from ortho_kernels.tensors import (
    check_all_on_meta,
    check_inputs,
    check_tensors,
    fake_layout,
    layout,
)

NAME = "polar_foreach"

# ---- Public function ----------------------------------------------------------------------------


def polar_foreach(
    tensors: Iterable[Tensor],
    method: str = "auto",
    *,
    view: View | Sequence[View] = "flatten",
    coefficients: str | Sequence[Triple] | None = None,
    steps: int | None = None,
    precision: str | None = None,
    rank: str = "truncate",
    rtol: float | str | None = None,
    backend: str | None = None,
    out: Sequence[Tensor] | None = None,
) -> list[Tensor]:
    """The polar factors of many tensors: mixed shapes, dtypes and devices, outputs like the inputs.

    view: how each tensor is read as matrices, one for all or one per tensor.
        "flatten": one matrix, flattened from dimension 1 (convolutions, linear layers).
        "batch": the last two dimensions are the matrix (expert weights).
        heads(n): flattened, then n equal blocks of rows, each on its own.
        A callable: tensor -> a view of it, or several, each read as a batch of matrices. What no
        view covers keeps its value from the input.
    out: written and returned; each may be its own input.

    All other arguments, and what comes back for every matrix, are those of `polar`.
    """
    tensors = list(tensors)
    check_tensors(NAME, "tensors", tensors)
    options = given(NAME, coefficients, steps, precision, rank, rtol, backend)
    views = matrices.resolve_views(NAME, view, len(tensors))
    if not tensors:
        resolve(NAME, method, **options)
        return _check_outs(out, tensors) if out is not None else []
    row_blocks = [one for one in views if isinstance(one, int)]
    if out is None and len(row_blocks) == len(tensors):
        return list(_op(tensors, row_blocks, method, **options))
    outs = _fresh_outs(tensors, views) if out is None else _check_outs(out, tensors)
    sources, targets, row_blocks = _pick(tensors, outs, views)
    if sources:
        _op_out(sources, targets, row_blocks, method, **options)
    return outs


def _check_outs(out: Any, tensors: Sequence[Tensor]) -> list[Tensor]:
    outs = list(out)
    if len(outs) != len(tensors):
        raise ValueError(
            f"{NAME}: out must have length {len(tensors)} like tensors, got {len(outs)}"
        )
    check_tensors(NAME, "out", outs)
    return outs


def _fresh_outs(tensors: Sequence[Tensor], views: Sequence[int | CallableView]) -> list[Tensor]:
    """Outputs for a call that has callables; contiguous there, so that a callable can view them."""
    outs = []
    for tensor, view in zip(tensors, views, strict=True):
        if isinstance(view, int):
            outs.append(torch.empty_like(tensor))
        else:
            polar_gradient.refuse_view(NAME, tensor)
            outs.append(tensor.detach().clone(memory_format=torch.contiguous_format))
    return outs


def _pick(
    tensors: Sequence[Tensor], outs: Sequence[Tensor], views: Sequence[int | CallableView]
) -> tuple[list[Tensor], list[Tensor], list[int]]:
    """Tensors and outputs with every callable view replaced by what it picks."""
    sources: list[Tensor] = []
    targets: list[Tensor] = []
    row_blocks: list[int] = []
    for i, (tensor, out, view) in enumerate(zip(tensors, outs, views, strict=True)):
        if isinstance(view, int):
            sources.append(tensor)
            targets.append(out)
            row_blocks.append(view)
            continue
        picked = matrices.apply_view(view, tensor, NAME, f"tensors[{i}]")
        written = matrices.apply_view(view, out, NAME, f"out[{i}]")
        if not torch.compiler.is_compiling():
            for one in written:
                if not matrices.shares_memory(one, out):
                    raise ValueError(f"{NAME}: view must return views of out[{i}], got a copy")
        if out is not tensor:
            out.copy_(tensor)
        sources += picked
        targets += written
        row_blocks += [matrices.BATCH] * len(picked)
    return sources, targets, row_blocks


# ---- Schema -------------------------------------------------------------------------------------

# row_blocks: one number per tensor, as in ortho.h; 0 = "batch", 1 = "flatten", n = heads(n).
SCHEMA = f"(Tensor[] tensors, int[] row_blocks, {OPTIONS}) -> Tensor[]"
SCHEMA_OUT = f"(Tensor[] tensors, Tensor(a!)[] out, int[] row_blocks, {OPTIONS}) -> ()"

# ---- Fake ---------------------------------------------------------------------------------------


def _fake(
    tensors: Sequence[Tensor], row_blocks: Sequence[int], *args: Any, **kwargs: Any
) -> list[Tensor]:
    resolve(NAME, *args, **kwargs)
    check_inputs(NAME, tensors, row_blocks)
    check_all_on_meta(NAME, tensors)
    return matrices.empty_outputs(tensors)


def _fake_out(
    tensors: Sequence[Tensor],
    out: Sequence[Tensor],
    row_blocks: Sequence[int],
    *args: Any,
    **kwargs: Any,
) -> None:
    resolve(NAME, *args, **kwargs)
    check_inputs(NAME, tensors, row_blocks)
    for i, (one, tensor) in enumerate(zip(out, tensors, strict=True)):
        like = fake_layout(tensor)
        checks.check_like(NAME, f"out[{i}]", f"tensors[{i}]", fake_layout(one), like)
    check_all_on_meta(NAME, tensors)


# ---- Backend order ------------------------------------------------------------------------------


def _serve(
    options: PolarOptions,
    backend: str | None,
    xs: Sequence[Tensor],
    outs: Sequence[Tensor],
    row_blocks: Sequence[int],
) -> None:
    """Each backend serves, in one call, all tensors that none before it could, and checks them."""
    left = list(range(len(xs)))
    for name in BACKENDS if backend is None else (backend,):
        reasons = [BACKENDS[name].supports_polar(options, xs[i]) for i in left]
        mine = [i for i, reason in zip(left, reasons, strict=True) if not reason]
        if backend is not None and len(mine) < len(left):
            checks.refuse_backend(NAME, name, next(filter(None, reasons)))
        if len(mine) == len(xs):
            BACKENDS[name].polar_foreach(options, xs, outs, row_blocks)
            return
        check_inputs(NAME, xs, row_blocks)  # while names still count from the caller's list
        if mine:
            BACKENDS[name].polar_foreach(
                options,
                [xs[i] for i in mine],
                [outs[i] for i in mine],
                [row_blocks[i] for i in mine],
            )
        left = [i for i, reason in zip(left, reasons, strict=True) if reason]
    if left:
        checks.refuse_backend(NAME, name, next(filter(None, reasons)))


def _kernel(
    tensors: Sequence[Tensor], row_blocks: Sequence[int], *args: Any, **kwargs: Any
) -> list[Tensor]:
    options, backend = resolve(NAME, *args, **kwargs)
    outs = matrices.empty_outputs(tensors)
    _serve(options, backend, tensors, outs, row_blocks)
    return outs


def _kernel_out(
    tensors: Sequence[Tensor],
    out: Sequence[Tensor],
    row_blocks: Sequence[int],
    *args: Any,
    **kwargs: Any,
) -> None:
    options, backend = resolve(NAME, *args, **kwargs)
    check_inputs(NAME, tensors, row_blocks)
    _check_outs(out, tensors)
    xs, outs = [layout(x) for x in tensors], [layout(x) for x in out]
    for i, (one, x) in enumerate(zip(outs, xs, strict=True)):
        checks.check_output(NAME, f"out[{i}]", f"tensors[{i}]", one, x)
    checks.check_distinct(NAME, outs, xs)
    _serve(options, backend, tensors, out, row_blocks)


# ---- Gradient -----------------------------------------------------------------------------------


def _differentiable(
    tensors: Sequence[Tensor], row_blocks: Sequence[int], *args: Any, **kwargs: Any
) -> list[Tensor]:
    """The same as one `polar` per tensor, which carries the gradient."""
    options, _ = resolve(NAME, *args, **kwargs)
    polar_gradient.check_differentiable(NAME, options)
    check_inputs(NAME, tensors, row_blocks)
    return [
        torch.ops.ortho_kernels.polar(
            matrices.as_matrices(tensor, blocks), *args, **kwargs
        ).reshape(tensor.shape)
        for tensor, blocks in zip(tensors, row_blocks, strict=True)
    ]


def _autograd(
    tensors: Sequence[Tensor], row_blocks: Sequence[int], *args: Any, **kwargs: Any
) -> list[Tensor]:
    if all(map(registry.is_plain, tensors)):
        return _kernel(tensors, row_blocks, *args, **kwargs)
    if any(map(registry.wants_gradient, tensors)):
        return _differentiable(tensors, row_blocks, *args, **kwargs)
    with registry.below_autograd():
        outs: list[Tensor] = _op(tensors, row_blocks, *args, **kwargs)
    return outs


def _autograd_out(
    tensors: Sequence[Tensor],
    out: Sequence[Tensor],
    row_blocks: Sequence[int],
    *args: Any,
    **kwargs: Any,
) -> None:
    polar_gradient.refuse_out(NAME, (*tensors, *out))
    with registry.below_autograd():
        _op_out(tensors, out, row_blocks, *args, **kwargs)
    polar_gradient.mark_written(out)


_op = registry.register(NAME, SCHEMA, kernel=_kernel, fake=_fake, autograd=_autograd)
_op_out = registry.register(
    f"{NAME}_out", SCHEMA_OUT, kernel=_kernel_out, fake=_fake_out, autograd=_autograd_out
)
