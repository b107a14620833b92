"""The default rank rule, where a LAPACK's rounding is larger than the threshold."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
import torch
from conftest import Target
from planted import gaussian, relative_error
from scipy.linalg import hadamard

from ortho_kernels.rank import slice_bits, wide_product

Rng = np.random.Generator
EXACT = ("exact", "svd")
BITS = {torch.float32: 23, torch.float64: 52}


@pytest.mark.parametrize("dtype", BITS, ids=str)
@pytest.mark.parametrize(("m", "n"), [(8, 8), (8, 32), (16, 64), (8, 512), (32, 1024)])
def test_singular_values_on_both_sides(target: Target, m: int, n: int, dtype: torch.dtype) -> None:
    """Powers of two between Hadamard matrices: representable, so these are the singular values.

    The threshold is 4 eps; the last one kept is 8 eps, the one dropped 1 eps.
    """
    bits = BITS[dtype]
    sigma = np.zeros(m)
    exponents = [0, 3, 7, bits - 11, bits - 5, bits - 3, bits]
    sigma[: len(exponents)] = np.exp2(np.negative(exponents, dtype=float))
    kept = len(exponents) - 1
    left, right = hadamard(m).astype(float), hadamard(n)[:m].astype(float)
    exact = (left * sigma) @ right
    x = torch.tensor(exact, dtype=dtype)
    assert (x.numpy() == exact).all()  # nothing of it was rounded away
    expected = left[:, :kept] @ right[:kept] / np.sqrt(m * n)
    for method in filter(target.serves, EXACT):
        for given, truth in ((x, expected), (x.mT, expected.T)):
            out = target.polar(given, method).to(torch.float64)
            # Of the direction at 8 eps a rounding of eps X leaves about an eighth uncertain.
            assert out.square().sum().item() == pytest.approx(kept, abs=0.1), method
            assert relative_error(out, truth) <= 0.125, method


@pytest.mark.parametrize("dtype", BITS, ids=str)
def test_repeated_rows(target: Target, rng: Rng, dtype: torch.dtype) -> None:
    """Large, so that a LAPACK's rounding is far above the threshold."""
    x = gaussian(rng, 512, 2048).to(dtype)
    x[509:] = x[:3]
    for method in filter(target.serves, EXACT):
        norm = target.polar(x, method).to(torch.float64).square().sum().item()
        assert norm == pytest.approx(509, abs=0.1), method


@pytest.mark.parametrize("dtype", BITS, ids=str)
def test_many_softmax_heads(target: Target, rng: Rng, dtype: torch.dtype) -> None:
    """Rows that sum to zero but for their rounding, which stays well below the threshold."""
    heads = torch.stack([gaussian(rng, 10, 512).to(torch.float64) for _ in range(100)])
    x = (heads - heads.mean(-2, keepdim=True)).to(dtype)
    for method in filter(target.serves, EXACT):
        ranks = target.polar(x, method).to(torch.float64).square().sum((-2, -1))
        torch.testing.assert_close(ranks, torch.full_like(ranks, 9), atol=0.1, rtol=0)


@pytest.mark.parametrize("seed", [114, 155, 1089, 1463, 1845, 4660, 5011, 5223])
def test_rows_of_all_sizes(target: Target, seed: int) -> None:
    """Several null directions between 1e-7 and 1e-30: the inverse of the Gram matrix spans more
    than float64 has digits, and what it makes of a block of vectors is nearly dependent.
    """
    rng = np.random.default_rng(seed)
    m = int(rng.integers(9, 20))
    n = m + int(rng.integers(0, 10))
    span = rng.choice([9, 18, 30])
    rows = rng.normal(size=(m, n)) * 10.0 ** -rng.uniform(0, span, (m, 1))
    x = torch.tensor(rows, dtype=torch.float32)
    left, sigma, right = np.linalg.svd(x.numpy().astype(float), full_matrices=False)
    cut = 4 * 2.0**-23 * sigma[0]
    assert not ((sigma > cut / 2) & (sigma < cut * 2)).any()  # there, either way would do
    expected = (left * (sigma > cut)) @ right
    for method in filter(target.serves, ("exact",)):
        assert relative_error(target.polar(x, method), expected) <= 1e-3


@pytest.mark.parametrize("length", [1, 7, 1000])
def test_wide_product_does_not_cancel(rng: Rng, length: int) -> None:
    """Sums that cancel down to one rounding of their terms, against rational arithmetic."""
    a = rng.uniform(-1, 1, (3, length))
    b = rng.uniform(-1, 1, (length, 4))
    last = -(a @ b)[:, :1]  # makes the first column of the product nearly zero
    a = np.concatenate([a, last / 64], 1)
    b = np.concatenate([b, np.full((1, 4), 0.0)])
    b[-1, 0] = 1.0
    a[:, :-1] /= 64
    truth = [
        [sum(Fraction(p) * Fraction(q) for p, q in zip(row, column, strict=True)) for column in b.T]
        for row in a
    ]
    product = wide_product(torch.tensor(a), torch.tensor(b)).numpy()
    for got, want in zip(product.flat, (w for row in truth for w in row), strict=True):
        # One rounding of the result, and what three slices leave out.
        left_out = (length + 1) * Fraction(2) ** -(3 * slice_bits(length + 1) + 1)
        slack = abs(want) * Fraction(2) ** -52 + left_out
        assert abs(Fraction(got) - want) <= slack
