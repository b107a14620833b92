"""What the benches hold an answer against: one SVD, the same truths as the reference's."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from bench.truth import Truth, polynomial, ridged
from ortho_kernels import coefficients
from ortho_kernels.reference import polar as reference
from ortho_kernels.reference import spectra


@pytest.mark.parametrize("shape", [(5, 9), (9, 5), (6, 6), (1, 4)])
def test_the_truths_are_those_of_the_reference(shape: tuple[int, int]) -> None:
    rng = np.random.default_rng(0)
    x = spectra.with_singular_values(rng, *shape, spectra.geometric(min(shape), 1e3))
    truth = Truth(torch.from_numpy(x))
    table = coefficients.you_jiacheng.triples
    assert truth.error(reference.polar(x)) < 1e-10
    assert truth.distance(reference.polynomial(x, table), polynomial(table)) < 1e-10
    assert truth.distance(reference.newton(x, 1e-3), ridged(1e-3)) < 1e-10
    assert truth.error(reference.newton(x, 1e-3)) > 1e-4
    assert truth.condition == pytest.approx(1e3 if min(shape) > 1 else 1)


@pytest.mark.parametrize("shape", [(6, 10), (10, 6)])
def test_a_leak_is_what_becomes_of_a_null_direction(shape: tuple[int, int]) -> None:
    rng = np.random.default_rng(1)
    x = spectra.with_singular_values(rng, *shape, spectra.with_one_null(6))
    truth = Truth(torch.from_numpy(x))
    assert truth.rank == 5
    assert truth.condition == pytest.approx(1e6)
    dropped, completed = reference.polar(x), reference.polar(x, rank="complete")
    assert truth.leak(dropped) < 1e-10
    assert truth.leak(completed) == pytest.approx(1)
    assert truth.error(completed) < 1e-8  # which is no error on the kept range


def test_zeros_have_a_truth() -> None:
    truth = Truth(torch.zeros(3, 5))
    assert (truth.rank, truth.condition, truth.error(np.zeros((3, 5)))) == (0, 1.0, 0.0)
    assert truth.leak(np.zeros((3, 5))) == 0


def test_an_answer_of_another_shape_is_refused() -> None:
    with pytest.raises(ValueError, match=r"must have shape \(3, 5\), got \(5, 3\)"):
        Truth(torch.ones(3, 5)).error(torch.ones(5, 3))


def test_a_clear_cut_is_one_with_a_gap() -> None:
    rng = np.random.default_rng(2)
    for least, clear in ((1e-8, True), (1e-7, False)):
        x = spectra.with_singular_values(rng, 8, 20, [1, 0.5, 0.1, 0.1, 1e-2, 1e-2, 1e-4, least])
        truth = Truth(torch.from_numpy(x))
        assert (truth.rank, truth.clear_cut) == (7, clear)
        assert truth.condition == pytest.approx(1e4)
        assert truth.full_condition == pytest.approx(1 / least)
