"""polar's gradient: right where there is one, refused or NaN where there is none, never lost."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from conftest import DTYPES, POLYNOMIALS, Target
from planted import as_tensor, gaussian, of_rank, planted
from torch import Tensor

import ortho_kernels as ok

Rng = np.random.Generator


def gradient(function: Any, x: Tensor) -> Tensor:
    leaf = x.clone().requires_grad_()
    (result,) = torch.autograd.grad(function(leaf), leaf)
    return result


@pytest.mark.parametrize("shape", [(1, 1), (1, 5), (5, 1), (4, 4), (4, 7), (7, 4), (2, 3, 5)])
def test_against_finite_differences(target: Target, rng: Rng, shape: Any) -> None:
    x = gaussian(rng, *shape, dtype=torch.float64).requires_grad_()
    for method in filter(target.serves, ("exact", "svd")):
        assert torch.autograd.gradcheck(lambda x, m=method: target.polar(x, m), (x,))
    assert torch.autograd.gradcheck(lambda x: target.polar(x.mT).mT * 2, (x,))
    assert torch.autograd.gradcheck(target.frobenius_norm, (x,))


@pytest.mark.parametrize("view", ["flatten", "batch", ok.heads(2)], ids=str)
def test_foreach_against_finite_differences(target: Target, rng: Rng, view: Any) -> None:
    x = gaussian(rng, 4, 3, 5, dtype=torch.float64).requires_grad_()
    y = gaussian(rng, 4, 2, dtype=torch.float64)

    def many(x: Tensor) -> Tensor:
        outs = target.polar_foreach([y, x], view=view)
        return outs[1] * outs[0].sum()

    assert torch.autograd.gradcheck(many, (x,))


def test_against_autograd_of_an_svd(target: Target, rng: Rng) -> None:
    """An independent road: torch differentiates U V^T itself."""
    x, w = planted(rng, 8, 12, 1e2, torch.float64), gaussian(rng, 8, 12, dtype=torch.float64)

    def through_svd(x: Tensor) -> Tensor:
        u, _, vh = torch.linalg.svd(x, full_matrices=False)
        return (w * (u @ vh)).sum()

    wanted = gradient(through_svd, x)
    got = gradient(lambda x: (w * target.polar(x)).sum(), x)
    assert (got - wanted).norm() <= 1e-9 * wanted.norm()


def test_scale_is_a_symmetry(target: Target, rng: Rng) -> None:
    """polar(c x) = polar(x): the gradient has no part along x, and falls with the scale."""
    x, w = gaussian(rng, 6, 9, dtype=torch.float64), gaussian(rng, 6, 9, dtype=torch.float64)
    at_one = gradient(lambda x: (w * target.polar(x)).sum(), x)
    assert abs((at_one * x).sum()) <= 1e-12 * at_one.norm() * x.norm()
    for scale in (2.0**-90, 2.0**90):
        scaled = gradient(lambda x: (w * target.polar(x)).sum(), x * scale)
        assert torch.equal(scaled * scale, at_one)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_dtype_of_the_gradient(target: Target, rng: Rng, dtype: torch.dtype) -> None:
    x, w = gaussian(rng, 6, 9, dtype=dtype), gaussian(rng, 6, 9, dtype=dtype)
    got = gradient(lambda x: (w * target.polar(x)).sum(), x)
    wanted = gradient(lambda x: (w.double() * target.polar(x)).sum(), x.double())
    assert got.dtype == dtype
    assert (got.double() - wanted).norm() <= torch.finfo(dtype).eps * wanted.norm() + 1e-12


def test_no_gradient_where_the_rank_falls(target: Target, rng: Rng) -> None:
    batch = torch.stack(
        [of_rank(rng, 6, 9, 4), planted(rng, 6, 9, 10), torch.zeros(6, 9), planted(rng, 6, 9, 3)]
    )
    for rank in ("truncate", "complete"):
        got = gradient(lambda x, r=rank: target.polar(x, rank=r).sum(), batch)
        assert got[[0, 2]].isnan().all()
        assert got[[1, 3]].isfinite().all()
        assert torch.allclose(got[1], gradient(lambda x: target.polar(x).sum(), batch[1]))
    batch[1, 2, 3] = float("nan")
    got = gradient(lambda x: target.polar(x).nan_to_num().sum(), batch)
    assert got[1].isnan().all()
    assert got[3].isfinite().all()


@pytest.mark.parametrize("method", ["newton", *POLYNOMIALS])
def test_what_only_approaches_the_factor_refuses(target: Target, method: str) -> None:
    x = torch.eye(3).requires_grad_()
    words = (
        f"^polar: method must be 'exact', 'svd' or 'auto' where a gradient is asked for, "
        f"got '{method}'; use one of these, torch.no_grad\\(\\) or x.detach\\(\\)$"
    )
    with pytest.raises(RuntimeError, match=words):
        target.polar(x, method)
    with pytest.raises(RuntimeError, match=words.replace("polar:", "polar_foreach:")):
        target.polar_foreach([x], method)
    with torch.no_grad():
        assert not target.polar(x, method).requires_grad
    assert not target.polar(x.detach(), method).requires_grad


def test_outputs_refuse(target: Target) -> None:
    x = torch.eye(3).requires_grad_()
    plain = torch.eye(3)
    for source, out in ((x, plain), (plain, x)):
        with pytest.raises(RuntimeError, match=r"^polar: out must not meet automatic diff"):
            ok.polar(source, backend=target.backend, out=out)
        with pytest.raises(RuntimeError, match=r"^polar_foreach: out must not meet automatic"):
            ok.polar_foreach([source], backend=target.backend, out=[out])
    with torch.no_grad():
        ok.polar(2 * x, backend=target.backend, out=x)
    with pytest.raises(RuntimeError, match="a callable view is not differentiable"):
        ok.polar_foreach([x], view=lambda t: t)


def test_a_saved_tensor_that_is_written_is_noticed(target: Target) -> None:
    x = torch.eye(3).requires_grad_()
    y = x * 2
    z = (y * y).sum()
    with torch.no_grad():
        ok.polar(torch.eye(3), backend=target.backend, out=y)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        z.backward()


def test_the_raw_op_keeps_the_gradient(target: Target, rng: Rng) -> None:
    x = gaussian(rng, 3, 4).requires_grad_()
    ops, backend = torch.ops.ortho_kernels, target.backend
    assert ops.polar(x, backend=backend).requires_grad
    assert ops.frobenius_norm(x, backend=backend).requires_grad
    first, second = ops.polar_foreach([x, x.detach()], [1, 1], backend=backend)
    assert first.requires_grad
    assert not second.requires_grad


def test_second_and_forward_derivatives_refuse(target: Target, rng: Rng) -> None:
    x = gaussian(rng, 3, 4).requires_grad_()
    (first,) = torch.autograd.grad(target.polar(x).square().sum(), x, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        first.sum().backward()
    with torch.autograd.forward_ad.dual_level():
        dual = torch.autograd.forward_ad.make_dual(x.detach(), torch.ones(3, 4))
        with pytest.raises(RuntimeError, match="jvp"):
            target.polar(dual)


def test_norm_of_zero(target: Target) -> None:
    x = as_tensor(np.zeros((2, 2, 3)))
    x[1] = 1.0
    got = gradient(lambda x: target.frobenius_norm(x).sum(), x)
    assert not got[0].any()
    assert torch.allclose(got[1], torch.full((2, 3), 6**-0.5))
