"""Matrices whose singular values are known because they were planted: for tests and benches."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Matrix = NDArray[np.float64]


def orthonormal(rng: np.random.Generator, rows: int, columns: int) -> Matrix:
    """Orthonormal columns, spread as the Haar measure spreads them."""
    q, r = np.linalg.qr(rng.normal(size=(rows, columns)))
    columns_: Matrix = q * np.sign(np.diag(r))
    return columns_


def with_singular_values(
    rng: np.random.Generator, m: int, n: int, sigma: Sequence[float] | Matrix
) -> Matrix:
    """m x n with the min(m, n) singular values `sigma`, between random singular vectors."""
    k = min(m, n)
    matrix: Matrix = (orthonormal(rng, m, k) * sigma) @ orthonormal(rng, n, k).T
    return matrix


def geometric(k: int, condition: float) -> Matrix:
    """k singular values falling evenly in logarithm from 1 to 1 / condition."""
    return np.geomspace(1.0, 1.0 / condition, k)


def with_one_null(k: int, kept: float = 1e-6, null: float = 1e-8) -> Matrix:
    """k singular values: the last is `null`, the others fall from 1 to `kept`.

    LayerNorm does this to most gradients that meet a transformer's residual stream: its mean takes
    one direction away, to rounding, and the others span five or six decades.
    """
    return np.append(geometric(k - 1, 1.0 / kept), null) if k > 1 else np.ones(k)


def of_rank(rng: np.random.Generator, m: int, n: int, rank: int) -> Matrix:
    """A product of small-integer factors, exact in every dtype: deficient to the last bit."""
    while True:
        left, right = rng.integers(-3, 4, (m, rank)), rng.integers(-3, 4, (rank, n))
        product: Matrix = (left @ right).astype(np.float64)
        kept = np.linalg.svd(product, compute_uv=False)[:rank]
        if kept[-1] > 1e-3 * kept[0]:  # well away from any threshold: a plain rank
            break
    assert np.abs(product).max() <= 256  # the last integer that bfloat16 holds
    return product
