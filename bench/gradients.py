"""Synthetic gradients: gaussian ones, and ones with a planted spectrum."""

from __future__ import annotations

from collections.abc import Iterable
from math import prod

import numpy as np
import torch
from torch import Tensor


def gaussian(shapes: Iterable[tuple[int, ...]], seed: int = 0) -> list[Tensor]:
    """Float32, as most benchmarks of the field use them; well conditioned unless nearly square."""
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(shape, generator=generator) for shape in shapes]


def planted(shapes: Iterable[tuple[int, ...]], condition: float, seed: int = 0) -> list[Tensor]:
    """Float32 with singular values falling evenly in logarithm from 1 to ``1 / condition``.

    Real gradients are ill conditioned; what a method promises, it promises up to some condition.
    """
    random = np.random.default_rng(seed)
    return [_planted(shape, condition, random) for shape in shapes]


def _planted(shape: tuple[int, ...], condition: float, random: np.random.Generator) -> Tensor:
    rows, columns = shape[0], prod(shape[1:])
    small = min(rows, columns)
    left = np.linalg.qr(random.standard_normal((rows, small)))[0]
    right = np.linalg.qr(random.standard_normal((columns, small)))[0]
    sigma = np.geomspace(1.0, 1.0 / condition, small)
    return torch.from_numpy(((left * sigma) @ right.T).reshape(shape)).float()
