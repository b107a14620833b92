"""Plain torch: serves every device that torch serves, and is the fallback of everything else.

`exact` is a float64 SVD with the rank rule, `svd` the same in the input's own precision, `newton`
its formula in the eigenbasis of a float64 Gram matrix; the polynomials are in the ordinary form.
Half precision is computed as float32 products of rounded operands, which is what "accumulated in
float32" means, not by what a library does for half types.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ortho_kernels.matrices import as_matrices
from ortho_kernels.options import NEWTON_RIDGE, PolarOptions
from ortho_kernels.rank import settle
from ortho_kernels.steps import StepOptions, StepTensors
from ortho_kernels.tensors import check_inputs, check_matrices, words

HALF_DTYPES = {"float16": torch.float16, "bfloat16": torch.bfloat16}


def supports_polar(options: PolarOptions, x: Tensor) -> str:
    del options
    return "" if x.layout == torch.strided else f"it needs dense tensors, got {x.layout}"


supports_orthogonal_step_ = supports_polar


def supports_frobenius_norm(x: Tensor) -> str:
    return "" if x.layout == torch.strided else f"it needs dense tensors, got {x.layout}"


def polar(options: PolarOptions, x: Tensor, out: Tensor) -> None:
    check_matrices("polar", "x", x)
    _fill(out, options, x)


def polar_foreach(
    options: PolarOptions, xs: Sequence[Tensor], outs: Sequence[Tensor], row_blocks: Sequence[int]
) -> None:
    check_inputs("polar_foreach", xs, row_blocks)
    matrices = [as_matrices(x, blocks) for x, blocks in zip(xs, row_blocks, strict=True)]
    for out, x in zip(outs, matrices, strict=True):
        _fill(out, options, x)


def _fill(out: Tensor, options: PolarOptions, x: Tensor) -> None:
    if not x.is_meta:  # which has a shape only, and that is right already
        out.copy_(polar_factor(options, x).reshape(out.shape))


def orthogonal_step_(
    options: PolarOptions,
    step: StepOptions,
    tensors: StepTensors,
) -> None:
    check_inputs("orthogonal_step_", tensors.gradients, tensors.row_blocks, "gradients")
    weights, gradients, momenta, *how = tensors
    buffers: Sequence[Tensor | None] = momenta or [None] * len(weights)
    for w, g, v, blocks, scale, fresh in zip(weights, gradients, buffers, *how, strict=True):
        if not g.is_meta:
            _step(options, step, w, g, v, blocks, scale, fresh)


def _step(
    options: PolarOptions,
    step: StepOptions,
    w: Tensor,
    g: Tensor,
    v: Tensor | None,
    row_blocks: int,
    scale: float,
    fresh: bool,
) -> None:
    """Half types are float32 from one store to the next."""
    wide = torch.float64 if g.dtype == torch.float64 else torch.float32

    def scaled_factor(x: Tensor) -> Tensor:
        matrices = as_matrices(x.to(g.dtype), row_blocks)
        return polar_factor(options, matrices).reshape(g.shape).to(wide) * scale

    x = g.to(wide) if step.placement == "update" else scaled_factor(g)
    x = -x if step.maximize else x
    weight = w.to(wide)
    if step.decay == "coupled" and step.weight_decay != 0:
        x = x + step.weight_decay * weight
    if v is not None:
        x = _remember(step, x, v, fresh)
    if step.placement == "update":
        x = scaled_factor(x)
    if step.decay == "decoupled" and step.weight_decay != 0:
        weight = weight * (1 - step.lr * step.weight_decay)
    w.copy_(weight - step.lr * x)


def _remember(step: StepOptions, x: Tensor, v: Tensor, fresh: bool) -> Tensor:
    """The direction; v becomes what it remembers."""
    if step.average:
        before = torch.zeros_like(x) if fresh else v.to(x.dtype)
        buffer = torch.lerp(before, x, 1 - step.momentum)
        direction = torch.lerp(x, buffer, step.momentum) if step.nesterov else buffer
    else:
        buffer = x if fresh else v.to(x.dtype) * step.momentum + (1 - step.dampening) * x
        direction = x + step.momentum * buffer if step.nesterov else buffer
    v.copy_(buffer)
    return direction


def frobenius_norm(x: Tensor, out: Tensor) -> None:
    if x.is_meta or x.numel() == 0:
        out.zero_()
        return
    wide = x.to(torch.float64)
    scale = power_of_two_scale(wide)
    norm = (wide * scale[0] * scale[1]).square().sum((-2, -1)).sqrt()
    out.copy_(norm / scale[0][..., 0, 0] / scale[1][..., 0, 0])


def power_of_two_scale(x: Tensor) -> tuple[Tensor, Tensor]:
    """Two powers of two whose product brings max |x| of each float64 matrix into [1/2, 1).

    Two, because one would not reach from the smallest numbers to 1. They are made from their bits:
    a library's exp2 need not be exact, and only an exact scale leaves the bits of the result alone.
    Zero and non-finite matrices are left as they are.
    """
    largest = x.abs().amax((-2, -1), keepdim=True)
    sane = torch.isfinite(largest) & (largest > 0)
    exponent = torch.frexp(torch.where(sane, largest, 0.5)).exponent.to(torch.int64)
    first = torch.div(-exponent, 2, rounding_mode="floor")

    def power(n: Tensor) -> Tensor:
        return ((n + 1023) << 52).view(torch.float64)

    return power(first), power(-exponent - first)


def screened(x: Tensor) -> tuple[Tensor, Tensor]:
    """float64 matrices of max |x| in [1/2, 1), non-finite ones as zeros, and which were finite."""
    wide = x.to(torch.float64)
    finite = torch.isfinite(wide).all(-1, keepdim=True).all(-2, keepdim=True)
    wide = torch.where(finite, wide, 0.0)
    first, second = power_of_two_scale(wide)
    return wide * first * second, finite


def polar_factor(options: PolarOptions, x: Tensor) -> Tensor:
    """The polar factor of (..., m, n), in the dtype of x."""
    if x.numel() == 0:
        return torch.empty_like(x)
    wide, finite = screened(x)
    tall = x.shape[-2] > x.shape[-1]
    if tall:  # work on the small side
        wide = wide.mT
    if options.method == "polynomial":
        factor = _polynomial(options, wide)
    elif options.method == "newton":
        factor = _newton(wide)
    else:
        narrow = options.method == "svd" and x.dtype != torch.float64
        precision = torch.float32 if narrow else torch.float64
        factor = _svd(options, wide, precision, options.threshold(words(x.dtype)))
    factor = torch.where(finite, factor, torch.nan)
    factor = factor.mT if tall else factor
    return factor.to(x.dtype)


def _svd(options: PolarOptions, x: Tensor, precision: torch.dtype, rtol: float) -> Tensor:
    u, s, vh = torch.linalg.svd(x.to(precision), full_matrices=False)
    if options.rank == "truncate":
        settle(x, u, s, vh, rtol)
        u = u * (s > rtol * s[..., :1]).unsqueeze(-2)
    factor: Tensor = u @ vh
    return factor


def _newton(x: Tensor) -> Tensor:
    gram, vectors = torch.linalg.eigh(x @ x.mT)
    largest = gram[..., -1:]
    # Of a zero matrix the root may be anything finite, for X is zero beside it.
    ridged = torch.where(largest > 0, gram.clamp(min=0) + NEWTON_RIDGE * largest, 1.0)
    root: Tensor = (vectors * ridged.rsqrt().unsqueeze(-2)) @ (vectors.mT @ x)
    return root


def _polynomial(options: PolarOptions, wide: Tensor) -> Tensor:
    half = HALF_DTYPES.get(options.precision)

    def rounded(matrix: Tensor) -> Tensor:
        return matrix if half is None else matrix.to(half).to(torch.float32)

    norm = torch.sqrt(wide.square().sum((-2, -1), keepdim=True))
    x = rounded((wide / torch.where(norm > 0, norm, 1.0)).to(torch.float32))
    for a, b, c in options.coefficients:
        gram = rounded(x @ x.mT)
        x = rounded(a * x + rounded(b * gram + c * (gram @ gram)) @ x)
    return x
