"""The polar factor U V^T, and the polynomials that approximate it, in float64.

Input (..., m, n) of any real dtype, output float64 of the same shape. A matrix that holds a NaN or
an Inf comes back all NaN.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ortho_kernels.reference.frobenius_norm import frobenius_norm

Matrices = NDArray[np.float64]


def polar(x: Any, rtol: float = 4 * 2.0**-23, rank: str = "truncate") -> Matrices:
    """The exact factor; the default `rtol` is that of float32 data.

    "truncate": singular values up to rtol * sigma_1 are dropped: a partial isometry.
    "complete": every singular value becomes 1; where some are zero this is one answer of many.
    """

    def one(matrix: Matrices) -> Matrices:
        u, s, vt = np.linalg.svd(matrix, full_matrices=False)
        if rank == "truncate":
            u = u * (s > rtol * s[0])
        factor: Matrices = u @ vt
        return factor

    return _each(one, x)


def newton(x: Any, ridge: float = 3e-7) -> Matrices:
    """(X X^T + ridge sigma_1^2 I)^(-1/2) X: every sigma / sqrt(sigma^2 + ridge sigma_1^2)."""

    def one(matrix: Matrices) -> Matrices:
        u, s, vt = np.linalg.svd(matrix, full_matrices=False)
        relative = s / s[0] if s[0] > 0 else s
        factor: Matrices = (u * (relative / np.sqrt(relative**2 + ridge))) @ vt
        return factor

    return _each(one, x)


def polynomial(x: Any, coefficients: Sequence[Sequence[float]]) -> Matrices:
    """x / ||x||_F, then for each (a, b, c): x <- a x + b (x x^T) x + c (x x^T)^2 x."""

    def one(matrix: Matrices) -> Matrices:
        norm = frobenius_norm(matrix)
        y = matrix if norm == 0 else matrix / norm
        wide = y if y.shape[0] <= y.shape[1] else y.T
        for a, b, c in coefficients:
            gram = wide @ wide.T
            wide = a * wide + (b * gram + c * gram @ gram) @ wide
        return wide if y.shape[0] <= y.shape[1] else wide.T

    return _each(one, x)


def rank(x: Any, rtol: float = 4 * 2.0**-23) -> NDArray[np.int64]:
    """How many singular values of each matrix are kept."""
    s = np.linalg.svd(np.asarray(x, np.float64), compute_uv=False)
    kept: NDArray[np.int64] = (s > rtol * s[..., :1]).sum(-1)
    return kept


def _each(one: Callable[[Matrices], Matrices], x: Any) -> Matrices:
    x = np.asarray(x, np.float64)
    out = np.full(x.shape, np.nan)
    if x.size:
        for index in np.ndindex(x.shape[:-2]):
            if np.isfinite(x[index]).all():
                out[index] = one(x[index])
    return out
