"""window_step_: one pass over the window is the printed algorithm, and nothing makes it NaN."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
import pytest
import torch
from conftest import Target, rounding, window_bound
from planted import bits
from torch import Tensor
from window_cases import SIZES, Printed, Window, gradients, rounded

import ortho_kernels as ok
from ortho_kernels.reference.window_step_ import window_step_ as one_pass

STEPS = {"reference": 2000, "native": 2000, "eager": 400}
DTYPES = (torch.float32, torch.bfloat16)


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_one_pass_is_the_printed_algorithm_in_float64(size: tuple[int, int]) -> None:
    rows, numbers = size
    printed = Printed(rows, numbers)
    window, gram, c = np.zeros((rows, numbers)), np.zeros((rows, rows)), np.zeros(rows)
    for i, g in enumerate(gradients(np.random.default_rng(1), numbers, STEPS["reference"])):
        got = one_pass(window, gram, c, g, i % rows, min(i + 1, rows), 0.3)
        assert got == pytest.approx(printed.step(g, 0.3), rel=1e-9, abs=1e-9 * (got[0] == 0))


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("size", SIZES, ids=str)
def test_the_op_is_the_printed_algorithm(
    target: Target, size: tuple[int, int], dtype: torch.dtype
) -> None:
    rows, numbers = size
    printed, window = Printed(rows, numbers), Window(rows, numbers, dtype)
    bound = window_bound(dtype)
    steps = STEPS[target.backend]
    for i, g in enumerate(gradients(np.random.default_rng(2), numbers, steps)):
        eigenvalue, cosine = printed.step(rounded(g, dtype), 0.3)
        got = window.step([torch.from_numpy(g)], 0.3, target.backend)
        assert got[0] == pytest.approx(eigenvalue, rel=bound, abs=0.0), i
        assert got[1] == pytest.approx(cosine, rel=0.0, abs=bound), i
        if i % 100 == 99:  # every entry of the Gram matrix is fresh when its row comes: no drift
            exact = window.window.to(torch.float64) @ window.window.to(torch.float64).T
            norms = exact.diagonal().sqrt()
            off = (window.gram - exact).abs() / (norms.outer(norms) + 1e-300)
            allowed = rounding(torch.float64, numbers) if dtype == torch.float32 else 1e-6
            assert off.max() <= allowed
            length = float(window.vector().norm())
            assert length == pytest.approx(float(got[0] > 0), rel=max(bound, 1e-6))


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_nothing_gives_nan(target: Target, dtype: torch.dtype) -> None:
    numbers, tiny, huge = 12, 1e-38, 1e38
    unit = torch.eye(numbers)
    zero = torch.zeros(numbers)
    ones = torch.ones(numbers)
    # Orthogonal to all that the window holds, at every size; zeros until the window holds nothing.
    sequence = [zero, *unit, *(tiny * unit), *(huge * unit), zero, zero, zero, zero, ones]
    sequence += [zero, *(huge * unit), *(tiny * unit), ones, -ones, tiny * ones, huge * ones]
    for rows in (1, 3, 4, 30):
        window = Window(rows, numbers, dtype)
        for g in sequence:
            eigenvalue, cosine = window.step([g], backend=target.backend)
            assert math.isfinite(eigenvalue), (rows, window.steps)
            assert 0 <= cosine <= 1 + 1e-6, (rows, window.steps)
            assert window.coefficients.isfinite().all()
            if not g.any():
                assert cosine == 0
            elif rows < 30:
                assert eigenvalue > 0


def test_a_start_and_a_restart(target: Target) -> None:
    window = Window(2, 3)
    step = window.step
    assert step([torch.zeros(3)], backend=target.backend) == (0.0, 0.0)
    # v = g / ||g||, and ||S^T S v|| = ||g||^2.
    got = step([torch.tensor([0.0, 3.0, 4.0])], backend=target.backend)
    assert got == pytest.approx((5 / math.sqrt(2), 1.0), rel=1e-15)
    torch.testing.assert_close(window.vector(), torch.tensor([0, 0.6, 0.8], dtype=torch.float64))
    # Two orthogonal gradients later nothing of v is left.
    step([torch.tensor([5.0, 0.0, 0.0])], backend=target.backend)
    got = step([torch.tensor([6.0, 0.0, 0.0])], backend=target.backend)
    assert got == pytest.approx((math.sqrt(61 / 2), 1.0), rel=1e-15)


def as_given(g: Tensor) -> list[Tensor]:
    """The same 211 numbers as tensors of many forms."""
    pieces = g.split([1, 0, 24, 60, 36, 90])
    strided = torch.full((2, 3, 8, 5), 9.0, dtype=g.dtype)
    strided[:, :, ::2, 1:4] = pieces[4].repeat(2).view(2, 3, 4, 3)
    return [
        pieces[0].reshape(()),
        pieces[1].reshape(0, 4),
        pieces[2].view(2, 3, 4).permute(2, 0, 1).contiguous().permute(1, 2, 0),
        pieces[3].view(3, 4, 5).transpose(0, 2).contiguous().transpose(0, 2),
        strided[1, :, ::2, 1:4],
        pieces[5].view(1, 90),
    ]


@pytest.mark.parametrize("dtype", [*DTYPES, torch.float16, torch.float64], ids=str)
@pytest.mark.parametrize("rows", DTYPES, ids=str)
def test_a_list_is_one_vector(target: Target, rows: torch.dtype, dtype: torch.dtype) -> None:
    rng = np.random.default_rng(3)
    flat, listed = Window(5, 211, rows), Window(5, 211, rows)
    for _ in range(12):
        g = torch.from_numpy(rng.standard_normal(211)).to(dtype)
        wanted = flat.step([g], backend=target.backend)
        given = as_given(g)
        assert torch.equal(torch.cat([x.reshape(-1) for x in given]), g)
        assert listed.step(given, backend=target.backend) == wanted
        assert torch.equal(torch.cat([x.reshape(-1) for x in given]), g)
    assert list(map(bits, flat.arrays)) == list(map(bits, listed.arrays))


def test_mixed_types_and_a_repeated_element(target: Target) -> None:
    given = [
        torch.ones(2, dtype=torch.float64),
        torch.full((1,), 2.0, dtype=torch.bfloat16),
        torch.tensor(3.0, dtype=torch.float16).expand(2, 2),
        torch.empty(0),
        torch.tensor([[1.0, 2.0], [3.0, 4.0]]).T,
    ]
    window = Window(1, 11)
    window.step(given, backend=target.backend)
    assert window.window[0].tolist() == [1, 1, 2, 3, 3, 3, 3, 1, 3, 2, 4]


@pytest.mark.parametrize("poison", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_a_gradient_that_is_not_finite_leaves_all_as_it_is(
    target: Target, dtype: torch.dtype, poison: float
) -> None:
    window = Window(3, 9000, dtype)
    for i in range(4):
        window.step([torch.linspace(-1, i, 9000)], backend=target.backend)
    before = list(map(bits, window.arrays))
    g = torch.ones(9000)
    g[-1] = poison
    for given in (g, torch.full((9000,), 1e39, dtype=torch.float64)):  # too large for the rows
        assert all(map(math.isnan, window.step([given], backend=target.backend)))
        assert list(map(bits, window.arrays)) == before


@pytest.mark.parametrize("exponent", [-60, 20])
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_a_power_of_two_scales_exactly(target: Target, dtype: torch.dtype, exponent: int) -> None:
    rng = np.random.default_rng(4)
    plain, scaled = Window(4, 100, dtype), Window(4, 100, dtype)
    for _ in range(10):
        g = torch.from_numpy(rng.standard_normal(100)).float()
        eigenvalue, cosine = plain.step([g], backend=target.backend)
        got = scaled.step([g * 2.0**exponent], backend=target.backend)
        assert got == (eigenvalue * 2.0**exponent, cosine)


def test_sigma_divides_the_eigenvalue(target: Target) -> None:
    plain, other = Window(2, 3), Window(2, 3)
    g = torch.tensor([1.0, 2.0, 3.0])
    one = plain.step([g], backend=target.backend)
    two = other.step([g], 0.25, backend=target.backend)
    assert two == (4 * one[0], one[1])


def test_bfloat16_rows_come_within_a_thousandth(target: Target) -> None:
    rng = np.random.default_rng(5)
    single, half = Window(50, 3000), Window(50, 3000, torch.bfloat16)
    spread = np.geomspace(1.0, 30.0, 3000)
    for i in range(150):
        g = torch.from_numpy(spread * rng.standard_normal(3000))
        wanted = single.step([g], backend=target.backend)
        got = half.step([g], backend=target.backend)
        if i >= 50:
            assert got[0] == pytest.approx(wanted[0], rel=1e-3)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_the_same_bits_whatever_the_threads_and_the_layout(
    kernels: Target, threads: Callable[[int], None], dtype: torch.dtype
) -> None:
    rng = np.random.default_rng(6)
    numbers = 70_000
    series = [torch.from_numpy(rng.standard_normal(numbers)).float() for _ in range(14)]

    def run(count: int, window: Window, given: Callable[[Tensor], Sequence[Tensor]]) -> list[bytes]:
        threads(count)
        numbers = [window.step(given(g), backend=kernels.backend) for g in series]
        return [*map(bits, window.arrays), np.array(numbers).tobytes()]

    wanted = run(1, Window(6, numbers, dtype), lambda g: [g])
    for count in (2, 3, 8):
        assert run(count, Window(6, numbers, dtype), lambda g: [g]) == wanted
    assert run(1, Window(6, numbers, dtype), lambda g: list(g.split(999))) == wanted
    spaced = Window(6, numbers, dtype)
    spaced.window = torch.full((6, numbers + 13), 7.0, dtype=dtype)[:, 5:-8]
    assert run(2, spaced, lambda g: [g]) == wanted


def test_nothing_is_written_beside_the_rows(target: Target) -> None:
    around = torch.full((7, 30), 7.0)
    window = Window(5, 11)
    window.window = around[1:6, 3:14]
    for _ in range(8):
        window.step([torch.full((11,), 2.0)], backend=target.backend)
    around[1:6, 3:14] = 7.0
    assert (around == 7.0).all()


def test_a_window_of_nothing(target: Target) -> None:
    window = Window(2, 0)
    assert window.step([], backend=target.backend) == (0.0, 0.0)
    assert window.step([torch.empty(0, 3)], backend=target.backend) == (0.0, 0.0)
    assert ok.window_step_(*window.arrays, [], 0, 1).dtype == torch.float64
