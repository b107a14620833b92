"""Whether all numbers are finite, asked one by one."""

from __future__ import annotations

import cmath
from collections.abc import Iterable
from typing import Any

import numpy as np


def all_finite(tensors: Iterable[Any]) -> bool:
    """Whether no number of any of the arrays is NaN or Inf."""
    return all(cmath.isfinite(number) for x in tensors for number in np.ravel(x).tolist())
