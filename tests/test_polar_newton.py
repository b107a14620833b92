"""polar with method "newton": its formula as closely as float32 can, and what that promises."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from conftest import DTYPES, Target, newton_bound, newton_ridge_shortfall, rounding
from numpy.typing import NDArray
from planted import (
    SHAPES,
    as_array,
    as_tensor,
    bits,
    gaussian,
    of_rank,
    planted,
    relative_error,
    truth,
)
from torch import Tensor

from ortho_kernels.options import NEWTON_RIDGE
from ortho_kernels.reference import polar as reference

Rng = np.random.Generator


def newton_truth(x: Tensor) -> NDArray[np.float64]:
    return reference.newton(as_array(x), NEWTON_RIDGE)


def check(target: Target, x: Tensor) -> None:
    out = target.polar(x, "newton")
    assert out.dtype == x.dtype
    sigma = np.linalg.svd(as_array(x), compute_uv=False)
    assert relative_error(out, newton_truth(x)) <= newton_bound(sigma, x.dtype)


@pytest.mark.parametrize("condition", [1e0, 1e1, 1e2, 1e3, 1e4, 1e6])
@pytest.mark.parametrize("shape", [*SHAPES, (96, 96), (130, 140)], ids=str)
def test_on_planted_spectra(target: Target, rng: Rng, shape: Any, condition: float) -> None:
    check(target, planted(rng, *shape, condition))


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_in_every_dtype(target: Target, rng: Rng, dtype: torch.dtype) -> None:
    for condition in (1e0, 1e2, 1e4):
        check(target, planted(rng, 16, 27, condition, dtype))
        check(target, planted(rng, 60, 30, condition, dtype))


@pytest.mark.parametrize("scale", [1e-40, 1e-30, 1e30, 3e38])
def test_scales(target: Target, rng: Rng, scale: float) -> None:
    x = planted(rng, 16, 27, 1e2, torch.float64)
    check(target, (x * (scale / x.abs().max())).to(torch.float32))
    check(target, x * scale**7 if scale < 1 else x * scale**8)


@pytest.mark.parametrize("condition", [None, 1e1, 1e2, 1e3, 1e4])
@pytest.mark.parametrize("shape", [(16, 27), (32, 27), (64, 576), (96, 96)], ids=str)
def test_closer_than_five_steps_of_polar_express(
    target: Target, rng: Rng, shape: Any, condition: float | None
) -> None:
    x = gaussian(rng, *shape) if condition is None else planted(rng, *shape, condition)
    wanted = truth(x, rtol=0.0)
    newton = relative_error(target.polar(x, "newton"), wanted)
    assert newton < relative_error(target.polar(x, "polar_express", steps=5), wanted)
    sigma = np.linalg.svd(as_array(x), compute_uv=False)
    ridge = NEWTON_RIDGE * (sigma[0] / sigma[-1]) ** 2 / 2  # 1 - s / sqrt(s^2 + r) <= r / (2 s^2)
    assert newton <= newton_bound(sigma) + ridge


def test_each_singular_value(target: Target) -> None:
    sigma = np.array([1.0, 1e-1, 1e-2, 1e-3, 1e-4, 1e-6, 0.0])
    out = as_array(target.polar(as_tensor(np.diag(sigma)), "newton"))
    wanted = sigma / np.sqrt(sigma**2 + NEWTON_RIDGE)
    # A diagonal G is rounded in its last bit only; the ridge is a power iteration's.
    short = newton_ridge_shortfall(len(sigma))
    allowed = 3e-5 + short * NEWTON_RIDGE * sigma / 2 / (sigma**2 + NEWTON_RIDGE) ** 1.5
    assert (np.abs(np.diag(out) - wanted) <= allowed).all()
    assert not (out - np.diag(np.diag(out))).any()
    assert out[6, 6] == 0


def test_no_cut(target: Target, rng: Rng) -> None:
    """Small singular values fade; nothing is dropped, and nothing comes out of a null space.

    With eigenvalues of five rounding units the inverse of G is now and then off by its own size
    there, though, for which a hundred times the usual leak leaves room.
    """
    leak = 100 * torch.finfo(torch.float32).eps / NEWTON_RIDGE**0.5
    grey = planted(rng, 16, 9, 10).repeat(1, 3)  # grey images in a first convolution
    deficient = [of_rank(rng, *sizes) for sizes in ((16, 27, 9), (32, 27, 26), (12, 12, 1))]
    for x, rank in zip([grey, grey.mT, *deficient], (9, 9, 9, 26, 1), strict=True):
        assert relative_error(target.polar(x, "newton"), newton_truth(x)) <= leak
        square = np.linalg.svd(as_array(x), compute_uv=False) ** 2
        kept = (square / (square + NEWTON_RIDGE * square[0])).sum()  # at most `rank`, a little less
        assert rank - 1 < kept <= rank + 1e-6
        assert target.polar(x, "newton").square().sum().item() == pytest.approx(kept, rel=1e-3)


def test_one_row(target: Target, rng: Rng) -> None:
    x = gaussian(rng, 1, 300)
    for one in (x, x.mT):
        near = rounding(torch.float32, 300) + NEWTON_RIDGE + 3e-5
        assert (target.polar(one, "newton") - one / one.norm()).norm() <= near


def test_precision_by_name(target: Target, rng: Rng) -> None:
    x = gaussian(rng, 12, 20, dtype=torch.bfloat16)
    assert bits(target.polar(x, "newton", precision="float32")) == bits(target.polar(x, "newton"))


def test_in_a_call_on_many(target: Target, rng: Rng) -> None:
    tensors = [gaussian(rng, 8, 3, 3, 3), planted(rng, 30, 20, 1e3), torch.zeros(4, 5)]
    outs = target.polar_foreach(tensors, "newton")
    alone = [target.polar(x.flatten(1), "newton").view_as(x) for x in tensors]
    assert list(map(bits, outs)) == list(map(bits, alone))
