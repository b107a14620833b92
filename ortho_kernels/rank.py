"""Which singular values are zero, where a LAPACK's rounding hides it.

A computed SVD is exact for X + E with ||E|| of some eps sqrt(n) sigma_1, so a zero singular value
may come out above a threshold of 4 eps. The directions below that noise are looked at again:

    R = U_small^T X, without rounding       (k, n)
    R <- R - R V_large^T V_large            what U_small holds of the large directions, off again
    R = A T B^T, U_small <- U_small A, S_small <- T, V_small <- B

What U_small holds of a large u_j is about E / sigma_j, so R holds about E of v_j, and after the
projection that times the error of v_j: the error of T is of second order in E.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

# ||E|| is below 0.2 eps sqrt(n) sigma_1 in all that was measured. The rest keeps what counts as
# large so far above E that its vectors are good enough to project with.
NOISE = 8


def settle(x: Tensor, u: Tensor, s: Tensor, vh: Tensor, rtol: float) -> None:
    """Sharpens the singular values below the noise of u, s, vh and turns their vectors, in place.

    x: (..., m, n) with m <= n, the matrices in float64; u, s, vh: their SVD, in its own precision.
    Singular values that matter only beside an rtol well above the noise are left alone.
    """
    noise = NOISE * torch.finfo(s.dtype).eps * math.sqrt(x.shape[-1])
    if rtol >= 2 * noise:
        return
    small = s <= noise * s[..., :1]
    doubtful = small.any(-1) & (s[..., 0] > 0)
    for index in map(tuple, doubtful.nonzero().tolist()):
        count = int(small[index].sum())
        _settle_one(x[index], u[index], s[index], vh[index], s.shape[-1] - count)


def _settle_one(x: Tensor, u: Tensor, s: Tensor, vh: Tensor, large: int) -> None:
    rest = wide_product(u[:, large:].mT.to(torch.float64), x)
    held = vh[:large].to(torch.float64)
    rest = rest - (rest @ held.mT) @ held
    turn, values, rows = torch.linalg.svd(rest, full_matrices=False)
    u[:, large:] = u[:, large:] @ turn.to(u.dtype)
    s[large:] = values.to(s.dtype)
    vh[large:] = rows.to(vh.dtype)


def wide_product(a: Tensor, b: Tensor) -> Tensor:
    """a @ b of float64 matrices of entries up to 1, far more exactly than float64 where it cancels.

    Operands are cut into slices so short that the large products, and all their sums, are exact
    (Ozaki et al., "Error-free transformations of matrix multiplication", 2012). Left out is at most
    k 2^-(3 bits + 1) of a sum of k terms.
    """
    bits = slice_bits(a.shape[-1])
    (a1, a2, a3), (b1, b2, b3) = _slices(a, bits), _slices(b, bits)
    large = a1 @ b1 + (a1 @ b2 + a2 @ b1)
    product: Tensor = large + (a1 @ b3 + a2 @ b2 + a3 @ b1)
    return product


def slice_bits(terms: int) -> int:
    """Products of two numbers of so many bits, and sums of such products, fit into float64."""
    return (52 - terms.bit_length()) // 2


def _slices(x: Tensor, bits: int) -> tuple[Tensor, Tensor, Tensor]:
    first = torch.round(x * 2.0**bits) * 2.0**-bits
    second = torch.round((x - first) * 4.0**bits) * 4.0**-bits
    return first, second, x - first - second
