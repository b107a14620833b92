"""Matrices whose singular values are known, and how far an answer is from the truth."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ortho_kernels.options import polar_options
from ortho_kernels.reference import polar as reference
from ortho_kernels.reference import spectra
from ortho_kernels.reference.spectra import orthonormal as orthonormal

SHAPES = [(1, 1), (1, 7), (7, 1), (16, 27), (32, 27), (10, 512), (64, 576)]
CONDITIONS = (1e0, 1e2, 1e4, 1e6)


def as_tensor(array: Any, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.from_numpy(np.array(array, np.float64)).to(dtype)


def as_array(x: Tensor) -> NDArray[np.float64]:
    return x.detach().cpu().to(torch.float64).numpy()


def gaussian(rng: np.random.Generator, *shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
    return as_tensor(rng.normal(size=shape), dtype)


def with_singular_values(
    rng: np.random.Generator,
    m: int,
    n: int,
    sigma: Sequence[float] | NDArray[np.float64],
    dtype: torch.dtype = torch.float32,
) -> Tensor:
    return as_tensor(spectra.with_singular_values(rng, m, n, sigma), dtype)


def planted(
    rng: np.random.Generator,
    m: int,
    n: int,
    condition: float,
    dtype: torch.dtype = torch.float32,
) -> Tensor:
    """Singular values in geometric progression from 1 to 1 / condition."""
    return with_singular_values(rng, m, n, spectra.geometric(min(m, n), condition), dtype)


def of_rank(
    rng: np.random.Generator, m: int, n: int, rank: int, dtype: torch.dtype = torch.float32
) -> Tensor:
    """A product of small-integer factors, exact in every dtype: deficient to the last bit."""
    return as_tensor(spectra.of_rank(rng, m, n, rank), dtype)


def truth(x: Tensor, rank: str = "truncate", rtol: float | None = None) -> NDArray[np.float64]:
    """The exact factor of the tensor as it is stored."""
    default = polar_options("polar", "exact").threshold(str(x.dtype).removeprefix("torch."))
    return reference.polar(as_array(x), default if rtol is None else rtol, rank)


def polynomial_truth(x: Tensor, method: str, **options: Any) -> NDArray[np.float64]:
    """The same polynomial in float64."""
    table = polar_options("polar", method, **options).coefficients
    return reference.polynomial(as_array(x), table)


def relative_error(got: Tensor, wanted: NDArray[np.float64]) -> float:
    """The largest ||got - wanted||_F / ||wanted||_F of a batch; NaN counts as infinite."""
    assert tuple(got.shape) == wanted.shape
    if wanted.size == 0:
        return 0.0
    error = np.linalg.norm(as_array(got) - wanted, axis=(-2, -1))
    size = np.linalg.norm(wanted, axis=(-2, -1))
    worst = np.where(error == 0, 0.0, error / np.where(size > 0, size, 1.0)).max()
    return float("inf") if np.isnan(worst) else float(worst)


def bits(x: Tensor) -> bytes:
    """The elements in row-major order, whatever the layout."""
    return x.detach().cpu().contiguous().view(torch.uint8).numpy().tobytes() if x.numel() else b""
