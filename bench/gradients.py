"""Synthetic gradients for the shapes of a model: gaussian ones, and ones with a planted spectrum.

Real gradients are ill conditioned, and those of transformers deficient (bench/record.py records
some); what a method promises, it promises up to some condition number.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from math import prod

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ortho_kernels.reference import spectra

Shapes = Iterable[tuple[int, ...]]


def gaussian(shapes: Shapes, seed: int = 0) -> list[Tensor]:
    """Float32, as most benchmarks of the field use them; well conditioned unless nearly square."""
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(shape, generator=generator) for shape in shapes]


def planted(shapes: Shapes, condition: float, seed: int = 0) -> list[Tensor]:
    """Float32 with singular values falling evenly in logarithm from 1 to ``1 / condition``."""
    return _with_spectrum(shapes, lambda k: spectra.geometric(k, condition), seed)


def one_null(shapes: Shapes, seed: int = 0) -> list[Tensor]:
    """Float32 with one null direction at 1e-8, the others falling from 1 to 1e-6."""
    return _with_spectrum(shapes, spectra.with_one_null, seed)


def by_name(spectrum: str, shapes: Shapes, seed: int = 0) -> list[Tensor]:
    """``gaussian``, ``null``, or a condition number such as ``1e4``."""
    if spectrum == "gaussian":
        return gaussian(shapes, seed)
    if spectrum == "null":
        return one_null(shapes, seed)
    try:
        condition = float(spectrum)
    except ValueError:
        condition = 0.0
    if not 1 <= condition < float("inf"):
        raise ValueError(
            "gradients: spectrum must be gaussian, null or a condition number >= 1, "
            f"got {spectrum!r}"
        )
    return planted(shapes, condition, seed)


def _with_spectrum(
    shapes: Shapes, sigma: Callable[[int], NDArray[np.float64]], seed: int
) -> list[Tensor]:
    rng = np.random.default_rng(seed)
    made = []
    for shape in shapes:
        m, n = shape[0], prod(shape[1:])
        matrix = spectra.with_singular_values(rng, m, n, sigma(min(m, n)))
        made.append(torch.from_numpy(matrix.reshape(shape)).float())
    return made
