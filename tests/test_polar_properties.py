"""polar: what holds for every matrix, on matrices that hypothesis makes up.

Spectra are drawn so that no singular value comes within a factor 2 of the rank threshold, where
either side is right: kept ones span at most four decades, dropped ones are zero to the last bit.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from conftest import Target, exact_bound
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from planted import as_array, as_tensor, orthonormal, relative_error
from torch import Tensor

from ortho_kernels.reference import polar as reference

BOUND = exact_bound(torch.float32, 1e4)


@dataclass
class Case:
    """A float64 matrix of known polar factor u v^T, and fresh randomness."""

    x: Tensor
    u: NDArray[np.float64]
    v: NDArray[np.float64]
    rng: np.random.Generator

    @property
    def rank(self) -> int:
        return self.u.shape[1]


@st.composite
def cases(draw: st.DrawFn, full_rank: bool = False) -> Case:
    m, n = draw(st.integers(1, 24)), draw(st.integers(1, 24))
    k = min(m, n)
    rank = k if full_rank else draw(st.integers(1, k))
    exponents = draw(st.lists(st.floats(-4, 0), min_size=rank, max_size=rank))
    scale = 2.0 ** draw(st.integers(-60, 60))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    u, v = orthonormal(rng, m, rank), orthonormal(rng, n, rank)
    sigma = 10.0 ** np.array(exponents)
    # float64 all the way: in float32 the rounding of a deficient matrix fills its null space.
    x = as_tensor((u * (scale * sigma / sigma.max())) @ v.T, torch.float64)
    return Case(x, u, v, rng)


def polar(target: Target, x: Tensor) -> Tensor:
    # The rounding of the product that made x stands at 1e-16 of sigma_1: far below this threshold,
    # which in turn lies far below the four decades.
    return target.polar(x, rtol=1e-10)


@given(case=cases())
def test_is_the_planted_factor(target: Target, case: Case) -> None:
    assert relative_error(polar(target, case.x), case.u @ case.v.T) <= BOUND


@given(case=cases(), factor=st.floats(1e-3, 1e3))
def test_positive_factors_change_nothing(target: Target, case: Case, factor: float) -> None:
    out = polar(target, case.x * factor)
    assert relative_error(out, as_array(polar(target, case.x))) <= BOUND


@given(case=cases())
def test_commutes_with_transposition(target: Target, case: Case) -> None:
    assert relative_error(polar(target, case.x.mT).mT, as_array(polar(target, case.x))) <= BOUND


@given(case=cases())
def test_commutes_with_permutations(target: Target, case: Case) -> None:
    rows = torch.from_numpy(case.rng.permutation(case.x.shape[0]))
    columns = torch.from_numpy(case.rng.permutation(case.x.shape[1]))
    out = polar(target, case.x[rows][:, columns])
    assert relative_error(out, as_array(polar(target, case.x)[rows][:, columns])) <= BOUND


@given(case=cases())
def test_commutes_with_rotations(target: Target, case: Case) -> None:
    q = as_tensor(orthonormal(case.rng, *2 * case.x.shape[:1]), torch.float64)
    out = polar(target, q @ case.x)
    assert relative_error(out, as_array(q @ polar(target, case.x))) <= BOUND


@given(case=cases())
def test_is_a_projection(target: Target, case: Case) -> None:
    """polar(polar(x)) = polar(x)."""
    out = polar(target, case.x)
    assert relative_error(target.polar(out, rtol=1e-3), as_array(out)) <= BOUND


@given(case=cases())
def test_gives_the_nuclear_norm(target: Target, case: Case) -> None:
    nuclear = np.linalg.svd(case.x.numpy(), compute_uv=False).sum()
    got = (polar(target, case.x) * case.x).sum().item()
    assert abs(got - nuclear) <= BOUND * nuclear


@given(case=cases())
def test_squared_norm_is_the_rank(target: Target, case: Case) -> None:
    got = polar(target, case.x).square().sum().item()
    assert abs(got - case.rank) <= 2 * BOUND * case.rank


@given(case=cases())
def test_distance_is_that_of_the_spectrum_from_one(target: Target, case: Case) -> None:
    """||O - G||^2 = sum (sigma_i - 1)^2 over the kept ones, in units of sigma_1."""
    x = case.x / torch.linalg.matrix_norm(case.x, 2)
    sigma = np.linalg.svd(x.numpy(), compute_uv=False)[: case.rank]
    got = (polar(target, x) - x).square().sum().item()
    assert abs(got - ((sigma - 1) ** 2).sum()) <= 4 * BOUND * case.rank


@given(case=cases(full_rank=True))
def test_is_orthonormal_on_the_small_side(target: Target, case: Case) -> None:
    out = as_array(polar(target, case.x))
    wide = out if out.shape[0] <= out.shape[1] else out.T
    assert np.linalg.norm(wide @ wide.T - np.eye(case.rank)) <= 2 * BOUND * case.rank**0.5


@given(case=cases())
def test_complete_is_orthonormal_whatever_the_rank(target: Target, case: Case) -> None:
    out = as_array(target.polar(case.x, rank="complete", rtol=1e-10))
    wide = out if out.shape[0] <= out.shape[1] else out.T
    k = wide.shape[0]
    assert np.linalg.norm(wide @ wide.T - np.eye(k)) <= 2 * BOUND * k**0.5
    # The symmetric factor P = x O^T is positive semi-definite: O is a polar factor of x.
    p = as_array(case.x) @ out.T
    size = np.linalg.norm(p)
    assert np.linalg.norm(p - p.T) <= 4 * BOUND * size
    assert np.linalg.eigvalsh(p + p.T).min() >= -4 * BOUND * size


@given(case=cases(full_rank=True))
def test_float32_rounding_of_the_input_is_all_that_differs(target: Target, case: Case) -> None:
    x = case.x.to(torch.float32)
    wanted = reference.polar(as_array(x), rtol=1e-6)
    assert relative_error(target.polar(x, rtol=1e-6), wanted) <= BOUND
