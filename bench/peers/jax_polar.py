"""jax.scipy.linalg.polar by SVD and by QDWH, the whole model in one compiled computation."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax.scipy.linalg import polar
from torch import Tensor

from bench.contender import LAPACK, Contender, Piece


def compiled(factor: Callable[[Any], Any]) -> Callable[[Sequence[Tensor]], list[Piece]]:
    """Compiled beforehand for these shapes; a call waits until its answers are there."""

    def prepare(gradients: Sequence[Tensor]) -> list[Piece]:
        matrices = [jnp.asarray(gradient.flatten(1).numpy()) for gradient in gradients]
        model = jax.jit(lambda arrays: [factor(array) for array in arrays])
        ready = model.lower(matrices).compile()
        every = tuple(range(len(matrices)))
        return [Piece(every, lambda: jax.block_until_ready(ready(matrices)))]

    return prepare


def _factor(method: str) -> Callable[[Any], Any]:
    def factor(array: Any) -> Any:
        side = "left" if array.shape[0] < array.shape[1] else "right"  # the one that QDWH has
        return polar(array, side=side, method=method)[0]

    return factor


def contenders() -> Sequence[Contender]:
    return [
        Contender(f"jax polar {method}, jit", LAPACK, compiled(_factor(method)))
        for method in ("svd", "qdwh")
    ]
