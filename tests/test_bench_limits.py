"""The operations that `python -m bench limits` counts, against counts by hand."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import torch

from bench import limits, operations, peak, shapes
from ortho_kernels.reference import spectra


def test_the_thresholds_are_the_kernels() -> None:
    """What decides a matrix's route stands in the kernels, and once more where it is counted."""
    cpu = Path(__file__).resolve().parent.parent / "csrc" / "cpu"
    text = (cpu / "exact.cc").read_text() + (cpu / "range.h").read_text()
    for name, counted in {
        "kFloatCondition": operations.FLOAT_CONDITION,
        "kFloatApplyError": operations.FLOAT_APPLY_ERROR,
        "kSmallestFloatTail": operations.SMALLEST_FLOAT_TAIL,
        "kRankMargin": operations.RANK_MARGIN,
        "kNullBlock": operations.NULL_BLOCK,
    }.items():
        (value,) = re.findall(rf"constexpr \w+ {name} = ([^;]+);", text)
        assert float(value) == counted, name


def test_a_long_matrix_at_1e4_by_hand() -> None:
    """Two inverses and one product in float64, then float32 from condition 4 (measured: 15,000)."""
    m, n = 64, 576
    work = operations.exact(n, m, spectra.geometric(m, 1e4))
    # Gram and the product with X; inverses of G and of the first iterate; the second factor into
    # the first; then the float32 factor into that, in full.
    assert work.float64 == 3 * m * m * n + 2 * m**3 + m**3 + 2 * m**3
    # One inverse, a series of degree 6 in three products, and one product of the two.
    assert work.float32 == (1 + 3 + 1) * m**3


def test_a_square_keeps_its_two_factors_apart() -> None:
    m = 64
    work = operations.exact(m, m, spectra.geometric(m, 1e4))
    assert work.float64 == (3 + 2 + 1) * m**3
    assert work.float32 == (1 + 3 + 1 + 2) * m**3


def test_orthonormal_rows_take_no_iteration() -> None:
    m, n = 10, 64  # too small a side for float32
    work = operations.exact(m, n, np.ones(m))
    # The bounds are off by sqrt(m) at either end, so that three steps follow even there.
    assert work.float32 == 2 * m * m * n  # the product with X
    assert work.float64 >= m * m * n + m**3


def test_a_null_direction_costs_more_and_the_long_side_counts() -> None:
    for m, n in ((64, 576), (256, 256)):
        easy, hard = (
            operations.exact(m, n, limits.sigma(spectrum, m)).seconds(1, 2)
            for spectrum in ("1e4", "null")
        )
        assert 3 * m * m * n < easy < hard < 3 * m * m * n + 20 * m**3


@pytest.mark.parametrize(
    ("radius", "degree"), [(1e-9, 1), (0.01, 2), (0.1, 4), (0.23, 6), (0.3, 0)]
)
def test_series_degrees_are_those_of_the_kernels(radius: float, degree: int) -> None:
    assert operations.series_degree(radius) == degree  # csrc/tests/test_series.cc holds the error


@pytest.mark.parametrize("model", limits.MODELS)
def test_no_model_takes_less_than_gram_and_product(model: str) -> None:
    work = limits.count(model, "1e4")
    assert work.float64 > peak.least_operations(shapes.matrices(model))
    assert limits.moved(model) == 16 * sum(m * n for m, n in shapes.matrices(model))


def test_multiply_adds_in_registers_are_counted() -> None:
    rate = peak.multiply_add(torch.float64)
    if rate is None:
        pytest.skip("needs a C compiler")
    assert rate > 1e8  # a wrong unit would show


def test_the_table_has_a_row_for_each_model_and_spectrum() -> None:
    pytest.importorskip("ortho_kernels._native")
    row = limits.table(["basiccnn"], ["1e4"], rounds=1).splitlines()[-1].split("|")
    assert row[1:3] == [" basiccnn ", " 1e4 "]
    assert all(float(cell.replace("%", "")) > 0 for cell in row[3:-1])
