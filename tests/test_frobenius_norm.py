"""frobenius_norm: right at every scale, float64 whatever the input."""

from __future__ import annotations

import re

import numpy as np
import pytest
import torch
from conftest import DTYPES, Target, rounding
from planted import as_array, as_tensor, bits, gaussian

import ortho_kernels as ok
from ortho_kernels.reference.frobenius_norm import frobenius_norm as reference

Rng = np.random.Generator
SHAPES = [(1, 1), (1, 9), (9, 1), (16, 27), (3, 5, 7), (2, 3, 4, 5), (200, 301)]


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_norm(target: Target, rng: Rng, shape: tuple[int, ...], dtype: torch.dtype) -> None:
    x = gaussian(rng, *shape, dtype=dtype)
    out = target.frobenius_norm(x)
    assert out.dtype == torch.float64
    assert out.shape == shape[:-2]
    wanted = reference(as_array(x))
    allowed = rounding(torch.float64, shape[-1] * shape[-2])
    assert np.abs(out.numpy() / wanted - 1).max() <= allowed
    assert wanted == pytest.approx(np.linalg.norm(as_array(x), axis=(-2, -1)))


@pytest.mark.parametrize("exponent", [-1060, -600, -140, -20, 100, 500, 1015])
def test_no_square_under_or_overflows(target: Target, rng: Rng, exponent: int) -> None:
    x = as_tensor(rng.integers(-7, 8, (3, 5, 6)), torch.float64)
    scaled = torch.from_numpy(np.ldexp(x.numpy(), exponent))
    allowed = rounding(torch.float64, 30)
    if exponent < -1022:  # the result itself is subnormal: an absolute unit is all it can hold
        allowed = 2.0 ** (-1074 - exponent)
    got = np.ldexp(target.frobenius_norm(scaled).numpy(), -exponent)
    assert np.abs(got / target.frobenius_norm(x).numpy() - 1).max() <= allowed


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_smallest_and_largest(target: Target, dtype: torch.dtype) -> None:
    info = torch.finfo(dtype)
    for value in (info.smallest_normal * info.eps, info.tiny, info.max):
        x = torch.full((3, 3), value, dtype=dtype)
        if value == info.max and dtype == torch.float64:
            x = x / 4  # three times the largest double is not a double
        wanted = 3 * x[0, 0].to(torch.float64).item()
        assert target.frobenius_norm(x).item() == pytest.approx(wanted, rel=1e-14)


def test_special_values(target: Target) -> None:
    x = torch.ones(4, 2, 3)
    x[0] = 0
    x[1, 0, 0] = float("nan")
    x[2, 1, 2] = float("-inf")
    out = target.frobenius_norm(x)
    assert out[0] == 0
    assert out[1].isnan()
    assert out[2] == float("inf")
    assert out[3].item() == pytest.approx(6**0.5, rel=1e-15)


def test_empty(target: Target) -> None:
    for shape in ((0, 3), (3, 0), (2, 0, 3), (0, 3, 3)):
        out = target.frobenius_norm(torch.ones(shape))
        assert out.shape == shape[:-2]
        assert not out.any()


def test_layouts_and_batches(target: Target, rng: Rng) -> None:
    x = gaussian(rng, 4, 9, 12)
    before = bits(x)
    near = rounding(torch.float64, 108)
    wanted = target.frobenius_norm(x)
    for other in (x.mT, x.mT.contiguous().mT, x.permute(1, 2, 0).contiguous().permute(2, 0, 1)):
        assert (target.frobenius_norm(other) / wanted - 1).abs().max() <= near
    assert (target.frobenius_norm(x[1].expand(3, 9, 12)) / wanted[1] - 1).abs().max() <= near
    assert (
        target.frobenius_norm(x[:, ::2, 1::3]).numpy() / reference(x[:, ::2, 1::3]) - 1
    ).max() <= near
    assert bits(x) == before


@pytest.mark.parametrize(
    ("x", "error", "words"),
    [
        (torch.ones(3), ValueError, "x must have at least 2 dimensions, got shape (3,)"),
        (
            torch.ones(3, 3, dtype=torch.int32),
            TypeError,
            "x must be float16, bfloat16, float32 or float64, got int32",
        ),
    ],
)
def test_bad_inputs(target: Target, x: torch.Tensor, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=f"^frobenius_norm: {re.escape(words)}$"):
        target.frobenius_norm(x)
    with pytest.raises(TypeError, match=r"^frobenius_norm: x must be a torch.Tensor, got int$"):
        ok.frobenius_norm(3)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"^frobenius_norm: backend must be None, 'native' or"):
        ok.frobenius_norm(torch.eye(2), backend="tpu")
