"""scipy.linalg.polar, which also forms the other factor: on the small side, where it is cheaper."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import scipy.linalg
from torch import Tensor

from bench.contender import LAPACK, Contender, per_matrix


def factor(matrix: Tensor) -> Any:
    array = matrix.numpy()
    side = "left" if array.shape[0] <= array.shape[1] else "right"
    return scipy.linalg.polar(array, side=side)[0]


def contenders() -> Sequence[Contender]:
    return (Contender("scipy.linalg.polar", LAPACK, per_matrix(factor)),)
