"""Orthogonalise all gradients of a model once: every method, and torch's SVD one matrix at a time.

    python -m pytest bench/polar.py                                  three models, about a minute
    python -m pytest bench/polar.py --model resnet18 --threads 1     another model, one thread
    python -m pytest bench/polar.py -k exact --condition 1e4         one method, harder gradients

An answer is checked against the float64 reference before it is timed: the exact methods against the
exact factor, a polynomial against the float64 run of the same polynomial. How far each is from the
exact factor goes into the record (``--benchmark-json FILE``) beside its time; bench/table.py makes
a table of that record.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from pytest_benchmark.fixture import BenchmarkFixture
from torch import Tensor

import ortho_kernels as ok
from bench import shapes
from bench.gradients import planted
from ortho_kernels import coefficients
from ortho_kernels.reference import polar as reference

Matrices = list[NDArray[np.float64]]

# The promises of docs/ops/polar.md: up to condition 1e4 for the exact ones, 1e2 for polynomials.
EXACT_ERROR, EXACT_CONDITION = 1e-5, 1e4
POLYNOMIAL_ERROR, POLYNOMIAL_CONDITION = 5e-5, 1e2
POLYNOMIALS = {
    "polar_express": coefficients.polar_express.triples,
    "newton_schulz": coefficients.expand(coefficients.keller_jordan.triples, 5),
}


def svd_per_matrix(gradients: Sequence[Tensor]) -> list[Tensor]:
    """What people write by hand, and what everything here is measured against."""
    factors = []
    for gradient in gradients:
        u, _, vt = torch.linalg.svd(gradient.flatten(1), full_matrices=False)
        factors.append((u @ vt).view_as(gradient))
    return factors


def _method(name: str) -> Callable[[Sequence[Tensor]], list[Tensor]]:
    return lambda gradients: ok.polar_foreach(gradients, name)


WAYS = {"torch.linalg.svd": svd_per_matrix}
WAYS |= {name: _method(name) for name in ("exact", "svd", *POLYNOMIALS)}


@pytest.mark.parametrize("way", WAYS)
def bench_polar(benchmark: BenchmarkFixture, model: str, way: str, condition: float) -> None:
    if condition > EXACT_CONDITION:
        pytest.skip(f"no error is promised beyond condition {EXACT_CONDITION:g}")
    gradients, exact = _gradients(model, condition), _exact(model, condition)
    answer = WAYS[way](gradients)
    distance = _error(answer, exact)
    if way in POLYNOMIALS and condition <= POLYNOMIAL_CONDITION:
        assert _error(answer, _polynomial(model, condition, way)) <= POLYNOMIAL_ERROR
    elif way not in POLYNOMIALS:
        assert distance <= (EXACT_ERROR if way == "exact" else condition * 1e-6)
    benchmark.group = f"{model}, {len(gradients)} matrices, {torch.get_num_threads()} thread(s)"
    benchmark.extra_info |= {"error": distance, "condition": condition}
    benchmark.extra_info |= {"torch": torch.__version__, "isa": ok.build_info()["isa"]}
    benchmark(WAYS[way], gradients)


def _error(answer: Sequence[Tensor], truth: Matrices) -> float:
    """The worst relative error over the matrices of a model."""
    pairs = zip(answer, truth, strict=True)
    return max(
        float(np.linalg.norm(one.flatten(1).double().numpy() - true) / np.linalg.norm(true))
        for one, true in pairs
    )


@cache
def _gradients(model: str, condition: float) -> list[Tensor]:
    return planted(shapes.weights(model), condition)


@cache
def _exact(model: str, condition: float) -> Matrices:
    return [reference.polar(g.flatten(1).numpy()) for g in _gradients(model, condition)]


@cache
def _polynomial(model: str, condition: float, name: str) -> Matrices:
    table, gradients = POLYNOMIALS[name], _gradients(model, condition)
    return [reference.polynomial(g.flatten(1).numpy(), table) for g in gradients]
