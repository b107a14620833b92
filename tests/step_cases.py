"""Weights, gradients and buffers for the tests of orthogonal_step_, and what may differ."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from conftest import Target, exact_bound, half_ulp, rounding
from optim_cases import planted
from planted import bits, gaussian

import ortho_kernels as ok

Rng = np.random.Generator
OP = torch.ops.ortho_kernels.orthogonal_step_.default

SHAPES = [(4, 3, 3, 3), (5, 12), (12, 5), (1, 8), (8, 1), (6, 4, 3)]
SGD: dict[str, Any] = {"lr": 0.1, "momentum": 0.9, "dampening": 0.3, "weight_decay": 0.01}
RULES: dict[str, dict[str, Any]] = {
    "plain": {"lr": 0.1},
    "momentum": {"lr": 0.1, "momentum": 0.9},
    "coupled": SGD,
    "decoupled": SGD | {"decay": "decoupled"},
    "nesterov": SGD | {"nesterov": True, "dampening": 0.0},
    "maximize": SGD | {"maximize": True},
    "average": SGD | {"average": True, "decay": "decoupled"},
    "muon": {
        "lr": 0.02,
        "momentum": 0.95,
        "average": True,
        "nesterov": True,
        "weight_decay": 0.1,
        "decay": "decoupled",
    },
}
PLACEMENTS = ("gradient", "update")


class Case:
    """Weights, gradients of condition 4, and buffers near them: directions keep full rank."""

    def __init__(
        self, dtype: torch.dtype, shapes: Sequence[tuple[int, ...]] = SHAPES, seed: int = 0
    ) -> None:
        every = [planted(shape, seed + i, torch.float64) for i, shape in enumerate(shapes)]
        rng = np.random.default_rng(seed)
        self.gradients = [x.to(dtype) for x in every]
        self.weights = [gaussian(rng, *shape, dtype=dtype) for shape in shapes]
        self.momenta = [(0.5 * x).to(dtype) for x in every]

    def step(self, target: Target, *, buffers: bool = True, **options: Any) -> None:
        momenta = self.momenta if buffers else None
        ok.orthogonal_step_(
            self.weights, self.gradients, momenta, backend=target.backend, **options
        )

    def bits(self) -> list[bytes]:
        return list(map(bits, [*self.weights, *self.gradients, *self.momenta]))


def flat(function: Callable[[np.ndarray], np.ndarray]) -> Callable[[np.ndarray], np.ndarray]:
    return lambda x: function(x.reshape(len(x), -1)).reshape(x.shape)


def allowed(dtype: torch.dtype, placement: str) -> float:
    """Of an entry, next to numbers of size 4: the factor, ten roundings around it, and the store.

    Momentum first, the factor's input is rounded as well; condition 4 magnifies that at most so.
    """
    wide = dtype if dtype == torch.float64 else torch.float32
    stored = 0.0 if wide == dtype else half_ulp(dtype)
    magnified = 8 if placement == "update" else 1
    return 4 * (exact_bound(dtype, 1e4) + rounding(wide, 1, 10) + stored) * magnified
