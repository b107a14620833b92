"""polar: the same values give the same bits, whatever the threads, the company and the layout.

Of our own kernels: what LAPACK does is LAPACK's.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from conftest import DTYPES, POLYNOMIALS, Target
from planted import bits, gaussian, of_rank, planted
from torch import Tensor

import ortho_kernels as ok

Rng = np.random.Generator


def assorted(rng: Rng) -> list[Tensor]:
    return [
        planted(rng, 16, 27, 1e2),
        planted(rng, 200, 260, 1e4),
        of_rank(rng, 20, 20, 7),
        planted(rng, 10, 512, 10, torch.bfloat16),
        planted(rng, 40, 30, 1e3, torch.float64),
        torch.zeros(3, 5),
        *(gaussian(rng, 8, 9) for _ in range(10)),
    ]


@pytest.mark.parametrize("method", ["exact", "newton", *POLYNOMIALS])
def test_same_bits_whatever_the_threads(
    kernels: Target, rng: Rng, threads: Callable[[int], None], method: str
) -> None:
    tensors = assorted(rng)
    results = []
    for n in (1, 2, 5):
        threads(n)
        assert ok.get_num_threads() == n
        results.append([bits(out) for out in kernels.polar_foreach(tensors, method)])
    assert results[0] == results[1] == results[2]
    # ... and whatever the rest of the call.
    assert results[0] == [bits(kernels.polar(x, method)) for x in tensors]


@pytest.mark.parametrize("method", ["exact", "newton", *POLYNOMIALS])
def test_same_bits_whatever_the_batch(kernels: Target, rng: Rng, method: str) -> None:
    x = torch.stack([planted(rng, 24, 32, condition) for condition in (1, 1e2, 1e5, 3)])
    alone = [bits(kernels.polar(one, method)) for one in x]
    assert [bits(one) for one in kernels.polar(x, method)] == alone
    assert [bits(one) for one in kernels.polar(x.flip(0), method)] == alone[::-1]


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("method", ["exact", "newton", *POLYNOMIALS])
def test_same_bits_whatever_the_layout(
    kernels: Target, rng: Rng, method: str, dtype: torch.dtype
) -> None:
    for shape in ((2, 16, 27), (2, 27, 16), (1, 130, 140)):
        x = gaussian(rng, *shape, dtype=dtype)
        plain = bits(kernels.polar(x, method))
        wide = torch.full((*shape[:1], shape[1] + 3, 2 * shape[2]), 7.0, dtype=dtype)
        wide[:, 3:, ::2] = x
        for other in (
            x.mT.contiguous().mT,
            x.permute(2, 0, 1).contiguous().permute(1, 2, 0),
            wide[:, 3:, ::2],
        ):
            assert torch.equal(other, x)
            assert not other.is_contiguous()
            assert bits(kernels.polar(other, method)) == plain
