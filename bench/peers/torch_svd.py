"""torch.linalg.svd, the way people write it by hand: one matrix at a time, or batched by shape."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from bench.contender import LAPACK, Contender, per_matrix
from bench.peers.by_shape import by_shape


def factor(matrices: Tensor) -> Tensor:
    u, _, vt = torch.linalg.svd(matrices, full_matrices=False)
    product: Tensor = u @ vt
    return product


def contenders() -> Sequence[Contender]:
    return (
        Contender("torch.linalg.svd", LAPACK, per_matrix(factor)),
        Contender("torch.linalg.svd, by shape", LAPACK, by_shape(factor)),
    )
