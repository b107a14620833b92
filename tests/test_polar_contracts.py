"""polar: ranks, scales, non-finite input, layouts, and that inputs are never written."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
import torch
from conftest import DTYPES, EXACT, METHODS, Target, exact_bound, gram_rounding, rounding
from planted import (
    as_tensor,
    bits,
    gaussian,
    of_rank,
    orthonormal,
    planted,
    relative_error,
    truth,
    with_singular_values,
)
from torch import Tensor

from ortho_kernels.options import RTOL_BF16
from ortho_kernels.reference import polar as reference

Rng = np.random.Generator
FLOAT32_THRESHOLD = 4 * 2.0**-23

# ---- Rank: "truncate" ----------------------------------------------------------------------------


def check_truncated(target: Target, x: Tensor, kept: int) -> None:
    assert reference.rank(x.to(torch.float64).numpy()) == kept  # the matrix is what it claims to be
    for method in filter(target.serves, EXACT):
        out = target.polar(x, method)
        assert relative_error(out, truth(x)) <= exact_bound(x.dtype, 1e3, method)
        norm = out.to(torch.float64).square().sum().item()
        assert norm == pytest.approx(kept, rel=2 * exact_bound(x.dtype, 1e3, method))


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize(("m", "n", "rank"), [(16, 27, 9), (32, 27, 26), (10, 64, 9), (12, 12, 1)])
def test_small_integer_factors(
    target: Target, rng: Rng, m: int, n: int, rank: int, dtype: torch.dtype
) -> None:
    check_truncated(target, of_rank(rng, m, n, rank, dtype), rank)


def test_duplicate_rows(target: Target, rng: Rng) -> None:
    x = planted(rng, 16, 144, 10)
    x[3] = x[2]
    x[7] = -x[2]
    check_truncated(target, x, 14)
    check_truncated(target, x.mT, 14)


def test_equal_channels(target: Target, rng: Rng) -> None:
    """Grey images copied to three channels leave rank 9 of 27 in a first 3x3 convolution."""
    x = planted(rng, 16, 9, 10).repeat(1, 3)
    check_truncated(target, x, 9)


def test_softmax_head(target: Target, rng: Rng) -> None:
    """Rows that sum to zero, to rounding only: nine directions of ten."""
    x = gaussian(rng, 10, 512)
    check_truncated(target, x - x.mean(0), 9)


def test_one_dead_row(target: Target, rng: Rng) -> None:
    x = planted(rng, 16, 27, 10)
    x[5] = 0
    check_truncated(target, x, 15)
    for method in filter(target.serves, METHODS):
        out = target.polar(x, method)
        assert out[5].abs().max() <= rounding(torch.float32, 27)
        assert target.polar(x.mT, method)[:, 5].abs().max() <= rounding(torch.float32, 27)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_all_zero(target: Target, dtype: torch.dtype) -> None:
    for method, shape in product(filter(target.serves, METHODS), [(1, 1), (4, 9), (2, 9, 4)]):
        out = target.polar(torch.zeros(shape, dtype=dtype), method)
        assert not out.any(), method


@pytest.mark.parametrize("rtol", [None, 1e-3, 0.1, "bf16"])
def test_threshold(target: Target, rng: Rng, rtol: float | str | None) -> None:
    """Outside a factor 2 of the threshold the sides are certain."""
    cut = {None: FLOAT32_THRESHOLD, "bf16": RTOL_BF16}.get(rtol, rtol)
    sigma = np.concatenate([np.geomspace(1, 2.5 * cut, 12), np.geomspace(0.4 * cut, 0.01 * cut, 4)])
    # In float64, so that the small ones are what was planted; the cut is asked for.
    x = with_singular_values(rng, 16, 40, sigma, torch.float64)
    given = cut if rtol is None else rtol
    out = target.polar(x, rtol=given)
    bound = exact_bound(torch.float32, 0.4 / cut)
    assert relative_error(out, reference.polar(x.numpy(), cut)) <= bound
    assert out.square().sum().item() == pytest.approx(12, rel=2 * bound)


def test_default_thresholds(target: Target, rng: Rng) -> None:
    """4 eps of the input's dtype, and float32's for the half types."""
    for dtype in DTYPES:
        cut = 4 * torch.finfo(torch.float64 if dtype == torch.float64 else torch.float32).eps
        for factor, rank in ((16.0, 2), (1 / 16, 1)):  # powers of two: exact in every dtype
            top = 2.0**10 if dtype == torch.float16 else 1.0  # to have both in its range
            x = torch.tensor([[top, 0.0], [0.0, top * factor * cut]], dtype=dtype)
            assert x[1, 1] > 0
            out = target.polar(x)
            assert out.to(torch.float64).sum().item() == pytest.approx(rank, abs=1e-3), dtype


def test_bf16_noise_is_dropped_on_request(target: Target, rng: Rng) -> None:
    """The noise of bf16 arithmetic, 2e-4 to 8e-4 of sigma_1, is otherwise blown up to full size."""
    sigma = np.concatenate([np.geomspace(1, 0.05, 10), np.geomspace(8e-4, 2e-4, 6)])
    x = with_singular_values(rng, 16, 40, sigma)
    assert target.polar(x).square().sum().item() == pytest.approx(16, rel=1e-4)
    out = target.polar(x, rtol="bf16")
    assert out.square().sum().item() == pytest.approx(10, rel=1e-4)
    assert relative_error(out, truth(x, rtol=RTOL_BF16)) <= exact_bound(torch.float32, 1e4)


def test_truncated_factor_is_stable(target: Target, rng: Rng) -> None:
    """Noise far below the threshold does not move it, though it turns a completed one."""
    x = of_rank(rng, 16, 144, 12)
    noise = gaussian(rng, 16, 144) * (1e-8 * x.norm().item())
    moved = target.polar(x + noise, rtol=1e-5) - target.polar(x, rtol=1e-5)
    assert moved.norm().item() <= 1e-5


# ---- Rank: "complete" ----------------------------------------------------------------------------


def deficient(rng: Rng) -> dict[str, Tensor]:
    dead = planted(rng, 16, 27, 10)
    dead[5] = 0
    return {
        "zero": torch.zeros(4, 9),
        "dead row": dead,
        "rank 1": of_rank(rng, 16, 144, 1),
        "rank 9 of 27": planted(rng, 32, 9, 10).repeat(1, 3),
        "square": of_rank(rng, 12, 12, 7),
        "full": planted(rng, 16, 27, 1e4),
        "tall": of_rank(rng, 30, 8, 5),
    }


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_complete(target: Target, rng: Rng, dtype: torch.dtype) -> None:
    for name, x in deficient(rng).items():
        x = x.to(dtype)
        k = min(x.shape)
        for method in filter(target.serves, EXACT):
            out = target.polar(x, method, rank="complete")
            gram = out @ out.mT if x.shape[0] <= x.shape[1] else out.mT @ out
            assert (gram - torch.eye(k, dtype=dtype)).norm() <= gram_rounding(dtype, x.shape), name
            # On what the input spans it is the truncated factor.
            kept = truth(x)
            u, s, _ = np.linalg.svd(kept, full_matrices=False)
            u = u[:, s > 0.5]
            spanned = torch.from_numpy(u @ (u.T @ out.double().numpy()))
            assert relative_error(spanned, kept) <= exact_bound(dtype, 1e4, method), name
            again = target.polar(x.clone(), method, rank="complete")
            assert bits(out) == bits(again), name


# ---- Scale ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_powers_of_two_change_no_bit(target: Target, rng: Rng, dtype: torch.dtype) -> None:
    """Integers, so that scaling is exact in every dtype as long as no number leaves its range."""
    x = as_tensor(rng.integers(-8, 9, (3, 16, 27)), dtype)
    exponents = (-14, 1, 12) if dtype == torch.float16 else (-100, -1, 13, 100)
    runs = [(method, {}) for method in filter(target.serves, METHODS)]
    runs += [("polar_express", {"precision": one}) for one in ("float16", "bfloat16")]
    for method, options in runs:
        plain = bits(target.polar(x, method, **options))
        for exponent in exponents:
            scaled = target.polar(x * 2.0**exponent, method, **options)
            assert bits(scaled) == plain, (method, options, exponent)


# ---- Non-finite input ----------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("poison", [float("nan"), float("inf"), float("-inf")])
def test_one_bad_matrix_of_a_batch(
    target: Target, rng: Rng, poison: float, dtype: torch.dtype
) -> None:
    x = gaussian(rng, 4, 9, 12, dtype=dtype)
    for method, rank in product(filter(target.serves, METHODS), ("truncate", "complete")):
        if rank == "complete" and method not in EXACT:
            continue
        clean = target.polar(x, method, rank=rank)
        for where in ((2, 0, 0), (2, 8, 11), (2, 4, 5), (0, 3, 1)):
            bad = x.clone()
            bad[where] = poison
            out = target.polar(bad, method, rank=rank)
            assert out[where[0]].isnan().all()
            others = [i for i in range(4) if i != where[0]]
            assert bits(out[others]) == bits(clean[others]), (method, where)


# ---- Layouts -----------------------------------------------------------------------------------


def test_strided_and_expanded_inputs(target: Target, rng: Rng) -> None:
    x = gaussian(rng, 9, 12)
    for method in filter(target.serves, METHODS):
        wanted = target.polar(x, method)
        near = rounding(torch.float32, 12, 16)
        assert (target.polar(x.mT.contiguous().mT, method) - wanted).norm() <= near
        repeated = target.polar(x.expand(3, 9, 12), method)
        assert repeated.shape == (3, 9, 12)
        assert (repeated - wanted).norm() <= 2 * near
        row = gaussian(rng, 1, 12).expand(9, 12)  # one row nine times: a stride of zero inside
        if method in EXACT:
            assert relative_error(target.polar(row, method), truth(row)) <= exact_bound(
                torch.float32, 1
            )


# ---- Transposition -------------------------------------------------------------------------------


def test_transposed(target: Target, rng: Rng) -> None:
    for shape in ((16, 27), (32, 27), (12, 12), (1, 9)):
        x = planted(rng, *shape, 1e2)
        for method in filter(target.serves, METHODS):
            difference = target.polar(x.mT, method).mT - target.polar(x, method)
            allowed = 1e2 * rounding(torch.float32, 27, 8)
            assert difference.norm() <= allowed, method


def test_more_rows_than_columns(target: Target, rng: Rng) -> None:
    """N > P: orthonormal columns, rows shorter than one."""
    out = target.polar(gaussian(rng, 32, 27))
    assert (out.mT @ out - torch.eye(27)).norm() <= gram_rounding(torch.float32, out.shape)
    assert (out.norm(dim=1) < 1).all()


# ---- Inputs and neighbours are not written -------------------------------------------------------


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_inputs_are_never_written(target: Target, rng: Rng, dtype: torch.dtype) -> None:
    storage = gaussian(rng, 6, 12, 20, dtype=dtype)
    storage[1, 0, 0] = float("nan")
    before = bits(storage)
    views = (storage, storage.mT, storage[::2, 1:9, 3:], storage[2].expand(2, 12, 20))
    for method, x in product(filter(target.serves, METHODS), views):
        target.polar(x, method)
        target.polar_foreach([x, x], method)
        target.frobenius_norm(x)
        assert bits(storage) == before, method
    if dtype != torch.float16:
        for precision in ("float16", "bfloat16"):
            target.polar(storage, "polar_express", precision=precision)
            assert bits(storage) == before


def test_right_answer_for_an_orthonormal_matrix(target: Target, rng: Rng) -> None:
    x = as_tensor(orthonormal(rng, 27, 16).T)
    assert (target.polar(x) - x).norm() <= rounding(torch.float32, 27, 4)
