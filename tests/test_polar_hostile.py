"""polar on matrices made to be hard: every threshold straddled, scales, clusters, odd sizes.

Found by a search over millions of such matrices, of which these are the kinds that told something.
Nothing lies within a factor 2 of the rank threshold unless a test says so.
"""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
import pytest
import torch
from conftest import DTYPES, Target, exact_bound, gram_rounding
from planted import (
    as_array,
    as_tensor,
    bits,
    gaussian,
    relative_error,
    truth,
    with_singular_values,
)
from torch import Tensor

import ortho_kernels as ok

Rng = np.random.Generator


def orthonormality(out: Tensor) -> float:
    """||O O^T - I||_F on the small side."""
    o = as_array(out)
    wide = o if o.shape[0] <= o.shape[1] else o.T
    return float(np.linalg.norm(wide @ wide.T - np.eye(len(wide))))


# ---- Rank ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("kept", [1e-1, 1e-4, 1e-5, 1e-6])
@pytest.mark.parametrize("level", [1e-8, 1e-9, 0.0])
def test_a_few_null_directions(target: Target, rng: Rng, level: float, kept: float) -> None:
    """What LayerNorm leaves of a gradient: one to a dozen, found one way up to 7 and another above.

    In float64, so that the small ones are what was planted; the threshold is that of float32.
    """
    for count, (m, n) in product((1, 2, 7, 8, 12), ((24, 30), (60, 60), (64, 200))):
        sigma = np.geomspace(1, kept, m)
        sigma[-count:] = level
        x = with_singular_values(rng, m, n, sigma, torch.float64)
        for one in (x, x.mT.contiguous()):
            out = target.polar(one, rtol=2.0**-21)
            error = relative_error(out, truth(one, rtol=2.0**-21))
            assert error <= exact_bound(torch.float32, 1 / kept), (count, m, n)


@pytest.mark.parametrize("rtol", [0.5, 2.0**-9, 1e-3, 1e-6])
def test_a_singular_value_at_the_threshold(target: Target, rng: Rng, rtol: float) -> None:
    """Either side is right there, what lies between is not: a partial isometry, whatever it keeps.

    By the step of a purification from 1/2 + e to 1/2 + 3/2 e, this one is the slowest of all.
    """
    sigma = np.concatenate([np.linspace(1, 0.9, 20), np.geomspace(1.9 * rtol, 0.55 * rtol, 21)])
    x = with_singular_values(rng, 41, 60, sigma, torch.float64)
    out = target.polar(x, rtol=rtol)
    kept = np.linalg.svd(as_array(out), compute_uv=False)
    near = exact_bound(torch.float32, 1 / rtol)
    assert (np.minimum(kept, np.abs(kept - 1)) <= near).all()
    assert (kept > 0.5).sum() >= 20
    assert orthonormality(target.polar(x, rtol=rtol, rank="complete")) <= near * 41**0.5


@pytest.mark.parametrize("rank", ["truncate", "complete"])
@pytest.mark.parametrize("rtol", [1.0, 2.0])
def test_nothing_is_kept(target: Target, rng: Rng, rtol: float, rank: str) -> None:
    """A threshold at sigma_1 drops it, too: zeros, written over whatever was there."""
    for dtype, shape in product(DTYPES, ((1, 7), (5, 5), (9, 4), (2, 3, 50))):
        x = gaussian(rng, *shape, dtype=dtype)
        out = torch.full(shape, 7.0, dtype=dtype)
        ok.polar(x, rank=rank, rtol=rtol, backend=target.backend, out=out)
        if rank == "truncate":
            assert not out.any(), (dtype, shape)
        elif len(shape) == 2:
            assert orthonormality(out) <= 4 * gram_rounding(dtype, x.shape)  # U, V, two products


@pytest.mark.parametrize("shape", [(1, 1), (1, 228), (228, 1), (2, 3), (40, 60)], ids=str)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_zeros_completed(target: Target, shape: Any, dtype: torch.dtype) -> None:
    """Also in the memory that a matrix of this shape is given: one row has a way of its own."""
    out = target.polar(torch.zeros(shape, dtype=dtype), rank="complete")
    assert orthonormality(out) <= gram_rounding(dtype, out.shape)


# ---- Spectra -------------------------------------------------------------------------------------


@pytest.mark.parametrize("condition", [1e5, 1e6, 1e7, 1e9])
def test_beyond_the_promised_condition(target: Target, rng: Rng, condition: float) -> None:
    """In float64 without a threshold, where the route changes with the condition."""
    for m, n in ((12, 12), (49, 70), (64, 300)):
        x = with_singular_values(rng, m, n, np.geomspace(1, 1 / condition, m), torch.float64)
        error = relative_error(target.polar(x, rtol=0.0), truth(x, rtol=0.0))
        # The curve of docs/ops/polar.md, with room for other shapes.
        assert error <= 1e-6, (m, n)


def test_clusters(target: Target, rng: Rng) -> None:
    for levels in ((1.0,), (1.0, 1e-3), (1.0, 0.5, 1e-4), (1.0, 1e-2, 1e-4)):
        sigma = np.sort(np.resize(levels, 60))[::-1]
        for n in (60, 75, 200):
            x = with_singular_values(rng, 60, n, sigma)
            assert relative_error(target.polar(x), truth(x)) <= exact_bound(torch.float32, 1e4)


def test_rank_one(target: Target, rng: Rng) -> None:
    for m, n in ((2, 2), (8, 8), (9, 50), (70, 70), (60, 600)):
        x = as_tensor(np.outer(rng.integers(1, 4, m), rng.integers(1, 4, n)))
        out = target.polar(x)
        assert relative_error(out, as_array(x) / np.linalg.norm(as_array(x))) <= 1e-5
        for spike in (x, x + 0.01 * torch.eye(m, n)):  # and a cluster far below
            assert relative_error(target.polar(spike), truth(spike)) <= 1e-5


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("decades", [6, 18, 30])
def test_rows_of_very_different_size(
    target: Target, rng: Rng, decades: int, dtype: torch.dtype
) -> None:
    for m, n in ((7, 40), (30, 30), (60, 64)):
        sizes = rng.permutation(10.0 ** -(decades * np.arange(m) / (m - 1)))
        x = as_tensor(rng.normal(size=(m, n)) * sizes[:, None], dtype)
        sigma = np.linalg.svd(as_array(x), compute_uv=False)
        relative = sigma / sigma[0]
        for rtol in np.geomspace(1e-4, 0.3, 12):
            if ((relative > rtol / 2) & (relative < 2 * rtol)).any():
                continue
            error = relative_error(target.polar(x, rtol=float(rtol)), truth(x, rtol=rtol))
            assert error <= exact_bound(torch.float32, 1e4), (m, n, rtol)


# ---- Sizes and scales ----------------------------------------------------------------------------


def test_every_small_side(target: Target, rng: Rng) -> None:
    """Padding, panels and their remainders: no size is like its neighbours."""
    for m in range(1, 71):
        for n in (m, m + 1, 2 * m + 3):
            x = gaussian(rng, m, n)
            condition = np.linalg.cond(as_array(x))
            if condition > 1e4:
                continue
            out = target.polar(x if m % 2 else x.mT)
            wanted = truth(x)
            bound = exact_bound(torch.float32, condition)
            assert relative_error(out if m % 2 else out.mT, wanted) <= bound, (m, n)


@pytest.mark.parametrize("ratio", [1, 2, 10, 50, 200])
def test_aspect_ratios(target: Target, rng: Rng, ratio: int) -> None:
    for m in (1, 3, 8, 17):
        x = with_singular_values(rng, m, m * ratio, np.geomspace(1, 1e-4, m))
        assert relative_error(target.polar(x), truth(x)) <= exact_bound(torch.float32, 1e4)
        assert relative_error(target.polar(x.mT).mT, truth(x)) <= exact_bound(torch.float32, 1e4)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_subnormal_inputs(target: Target, rng: Rng, dtype: torch.dtype) -> None:
    """All entries below the smallest normal number: integers times the smallest number there is."""
    tiny = torch.finfo(dtype).smallest_normal * torch.finfo(dtype).eps
    whole = as_tensor(rng.integers(-60, 61, (12, 20)), torch.float64)
    x = (whole * tiny).to(dtype)
    assert torch.equal(x.double(), whole * tiny)
    out = target.polar(x)
    assert relative_error(out, truth(whole)) <= exact_bound(dtype, 1e4)
    if dtype != torch.float64:
        assert bits(out.double()) == bits(target.polar(whole.to(dtype)).double())


@pytest.mark.parametrize("rtol", [1e-6, 1e-3])
def test_many_null_directions_in_float64(target: Target, rng: Rng, rtol: float) -> None:
    """Fourteen of twenty-four lie below the threshold; the kept are as exact as promised."""
    for kept in (1.0, 1e-2, max(20 * rtol, 1e-4)):
        sigma = np.concatenate([np.geomspace(1, kept, 10), np.full(14, 1e-9)])
        x = with_singular_values(rng, 24, 60, sigma, torch.float64)
        out = target.polar(x, rtol=rtol)
        assert relative_error(out, truth(x, rtol=rtol)) <= exact_bound(torch.float64, 1 / kept)
