"""The polar factors.

`exact` is a float64 SVD with the rank rule, `svd` the same in the input's own precision, `newton`
its formula in the eigenbasis of a float64 Gram matrix; the polynomials are in the ordinary form.
Half precision is computed as float32 products of rounded operands, which is what "accumulated in
float32" means, not by what a library does for half types.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ortho_kernels.backends.eager.scales import power_of_two_scale
from ortho_kernels.backends.eager.serves import dense_only
from ortho_kernels.matrices import as_matrices
from ortho_kernels.options import NEWTON_RIDGE, PolarOptions
from ortho_kernels.rank import settle
from ortho_kernels.tensors import check_inputs, check_matrices, words

HALF_DTYPES = {"float16": torch.float16, "bfloat16": torch.bfloat16}


def supports_polar(options: PolarOptions, x: Tensor) -> str:
    del options
    return dense_only(x)


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
