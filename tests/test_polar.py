"""polar: the answer is the polar factor, within what docs/ops/polar.md promises."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
import pytest
import torch
from conftest import DTYPES, EXACT, POLYNOMIALS, Target, exact_bound, polynomial_bound
from planted import (
    CONDITIONS,
    SHAPES,
    as_tensor,
    gaussian,
    planted,
    polynomial_truth,
    relative_error,
    truth,
    with_singular_values,
)
from torch import Tensor

import ortho_kernels as ok

Rng = np.random.Generator


@pytest.mark.parametrize("condition", CONDITIONS)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_exact_on_planted_spectra(target: Target, rng: Rng, shape: Any, condition: float) -> None:
    x = planted(rng, *shape, condition)
    wanted = truth(x, rtol=0.0)
    # At condition 1e6 the default threshold is too close to the smallest singular value. These two
    # are not, and take different routes: below 2e-7 a float64 Gram matrix cannot decide a rank.
    for method, rtol in product(filter(target.serves, EXACT), (2.0**-22, 0.0)):
        error = relative_error(target.polar(x, method, rtol=rtol), wanted)
        assert error <= exact_bound(torch.float32, condition, method), (method, rtol)


@pytest.mark.parametrize("condition", [1e0, 1e2, 1e4])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.float16], ids=str)
def test_exact_in_every_dtype(
    target: Target, rng: Rng, dtype: torch.dtype, shape: Any, condition: float
) -> None:
    # Rounding to a half type fills small singular values with noise: the truth is that of the input
    # as rounded, and its condition is then far below what was planted.
    x = planted(rng, *shape, condition, dtype)
    out = target.polar(x)
    assert out.dtype == dtype
    assert relative_error(out, truth(x)) <= exact_bound(dtype, condition)


def test_large_matrix(kernels: Target, rng: Rng) -> None:
    """A transformer's feed-forward layer; eager is torch's own SVD and would only cost time."""
    x = planted(rng, 768, 3072, 1e4)
    assert relative_error(kernels.polar(x), truth(x)) <= exact_bound(torch.float32, 1e4)


@pytest.mark.parametrize("scale", [1e-30, 1e-20, 1e20, 1e30])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32, torch.float64], ids=str)
def test_scales(target: Target, rng: Rng, dtype: torch.dtype, scale: float) -> None:
    for m, n in ((16, 27), (32, 27), (1, 7)):
        x = (planted(rng, m, n, 1e4, torch.float64) * scale).to(dtype)
        assert relative_error(target.polar(x), truth(x)) <= exact_bound(dtype, 1e4)
        for method in POLYNOMIALS:
            y = (gaussian(rng, m, n, dtype=torch.float64) * scale).to(dtype)
            wanted = polynomial_truth(y, method)
            bound = polynomial_bound("float32", dtype, target.polynomial_form(y.shape))
            assert relative_error(target.polar(y, method), wanted) <= bound


def test_batch_of_many_dimensions(target: Target, rng: Rng) -> None:
    x = gaussian(rng, 2, 3, 4, 8, 5)
    assert relative_error(target.polar(x), truth(x)) <= exact_bound(torch.float32, 1e4)


def test_a_bare_convolution_gradient_is_a_batch_of_kernels(target: Target, rng: Rng) -> None:
    """What the docstring warns of: flattened it is another matrix with another answer."""
    x = gaussian(rng, 4, 3, 3, 3)
    as_batch, flat = target.polar(x), target.polar(x.flatten(1)).view_as(x)
    assert relative_error(as_batch, truth(x)) <= exact_bound(torch.float32, 1e4)
    assert (as_batch - flat).norm() > 0.1 * flat.norm()


@pytest.mark.parametrize("shape", [(0, 3), (3, 0), (0, 0), (0, 4, 5), (2, 0, 5)], ids=str)
def test_empty(target: Target, shape: Any) -> None:
    for method, dtype in product(("exact", "newton", *POLYNOMIALS), DTYPES):
        out = target.polar(torch.empty(shape, dtype=dtype), method)
        assert out.shape == shape
        assert out.dtype == dtype


# ---- Polynomials ---------------------------------------------------------------------------------


@pytest.mark.parametrize("condition", [1e0, 1e2])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("method", POLYNOMIALS)
def test_polynomial_in_float32(
    target: Target, rng: Rng, method: str, shape: Any, condition: float
) -> None:
    x = planted(rng, *shape, condition)
    error = relative_error(target.polar(x, method), polynomial_truth(x, method))
    assert error <= polynomial_bound("float32", form=target.polynomial_form(shape))


@pytest.mark.parametrize("shape", [(8, 400), (64, 80), (96, 864), (160, 1440)], ids=str)
@pytest.mark.parametrize("method", POLYNOMIALS)
def test_polynomial_in_float32_on_uneven_spectra(
    target: Target, rng: Rng, method: str, shape: Any
) -> None:
    """Some steps take some singular values far down, and rounding is magnified on the way back."""
    m, n = shape
    for condition in (10, 100):
        for small in (m // 4, m - 1):
            sigma = np.r_[np.ones(m - small), np.full(small, 1 / condition)]
            x = with_singular_values(rng, m, n, sigma)
            error = relative_error(target.polar(x, method), polynomial_truth(x, method))
            bound = polynomial_bound("float32", form=target.polynomial_form(shape))
            assert error <= bound, (condition, small)


def test_the_form_follows_the_shape(kernels: Target, rng: Rng) -> None:
    """The Gram form rounds otherwise than the ordinary one: its error tells which of them ran."""
    for shape, form in (((40, 49), "ordinary"), ((40, 50), "gram"), ((60, 40), "gram")):
        errors = []
        for _ in range(4):  # of 9e-7 and of 4e-6, about
            x = planted(rng, *shape, 1e2)
            out = kernels.polar(x, "polar_express")
            errors.append(relative_error(out, polynomial_truth(x, "polar_express")))
        assert kernels.polynomial_form(shape) == form
        assert (np.median(errors) > 2e-6) == (form == "gram"), (shape, errors)


@pytest.mark.parametrize("precision", ["float16", "bfloat16"])
@pytest.mark.parametrize("method", POLYNOMIALS)
def test_polynomial_in_half_precision(
    target: Target, rng: Rng, method: str, precision: str
) -> None:
    for shape in (*SHAPES, (128, 128)):
        x = gaussian(rng, *shape)
        wanted = polynomial_truth(x, method, precision=precision)
        out = target.polar(x, method, precision=precision)
        assert out.dtype == x.dtype
        assert relative_error(out, wanted) <= polynomial_bound(precision), shape
        # Coarser than float32 could be: the precision asked for is the one that ran.
        assert min(shape) == 1 or relative_error(out, wanted) > polynomial_bound("float32"), shape


@pytest.mark.parametrize("precision", ["float16", "bfloat16"])
def test_what_half_precision_rounds(target: Target, rng: Rng, precision: str) -> None:
    """The operands of every product, and x between steps; nothing else."""
    half = getattr(torch, precision)

    def kept(value: Tensor) -> Tensor:
        return value.to(half).to(torch.float32)

    def by_hand(first: float, keep_gram: Any = kept, keep_update: Any = kept) -> Tensor:
        x = kept(torch.tensor(first))  # (first, 0, 0) on a matrix of norm 1
        gram = keep_gram(x * x)
        return kept(keep_update(gram - gram * gram) * x)

    told_apart = np.zeros(2)
    for first in 1 + rng.integers(1, 100, 40) / 100:
        out = target.polar(
            torch.ones(1, 1),
            "newton_schulz",
            coefficients=[(first, 0.0, 0.0), (0.0, 1.0, -1.0)],
            precision=precision,
        )
        assert out.item() == by_hand(first)
        told_apart += [
            out.item() != by_hand(first, keep_gram=lambda x: x),
            out.item() != by_hand(first, keep_update=lambda x: x),
        ]
    assert told_apart.min() > 0  # this would see either rounding left out
    for method in POLYNOMIALS:
        out = target.polar(gaussian(rng, 12, 20), method, precision=precision)
        assert torch.equal(out, kept(out))


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_polynomial_in_every_dtype(target: Target, rng: Rng, dtype: torch.dtype) -> None:
    x = planted(rng, 16, 27, 1e2, dtype)
    out = target.polar(x, "polar_express")
    assert out.dtype == dtype
    bound = polynomial_bound("float32", dtype, target.polynomial_form(x.shape))
    assert relative_error(out, polynomial_truth(x, "polar_express")) <= bound


@pytest.mark.parametrize("name", list(ok.coefficients.BY_NAME))
def test_named_coefficients(target: Target, rng: Rng, name: str) -> None:
    # A planted spectrum: `cans` magnifies the rounding of a singular value at 0.82 of the norm (see
    # its caveat), where a gaussian matrix may have one. In Gram form some of it remains.
    for shape in ((20, 20), (12, 20)):
        form = target.polynomial_form(shape)
        x = planted(rng, *shape, 1e2)
        out = target.polar(x, "newton_schulz", coefficients=name)
        wanted = polynomial_truth(x, "newton_schulz", polynomial=name)
        magnified = 2 if name == "cans" and form == "gram" else 1
        assert relative_error(out, wanted) <= magnified * polynomial_bound("float32", form=form)
        table = ok.coefficients.BY_NAME[name].triples
        if len(table) > 1:
            assert torch.equal(out, target.polar(x, "polar_express", coefficients=table))


@pytest.mark.parametrize("steps", [1, 2, 8, 11])
def test_steps(target: Target, rng: Rng, steps: int) -> None:
    x = gaussian(rng, 12, 20)
    for method in POLYNOMIALS:
        wanted = polynomial_truth(x, method, steps=steps)
        bound = polynomial_bound("float32", form=target.polynomial_form(x.shape))
        assert relative_error(target.polar(x, method, steps=steps), wanted) <= bound


def test_polar_express_approaches_the_factor(target: Target, rng: Rng) -> None:
    """From singular values of 1e-2 of the norm on, eight steps reach it to rounding."""
    x = planted(rng, 16, 27, 10)
    error = relative_error(target.polar(x, "polar_express"), truth(x))
    assert error <= polynomial_bound("float32", form=target.polynomial_form(x.shape))


def test_zeros_stay_zero_and_small_stays_small(target: Target, rng: Rng) -> None:
    for method in POLYNOMIALS:
        assert not target.polar(torch.zeros(4, 9), method).any()
        x = as_tensor(np.diag([1.0, 1.0, 1e-8]))
        assert target.polar(x, method)[2, 2] < 1e-3
