"""The Frobenius norm in float64."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def frobenius_norm(x: Any) -> NDArray[np.float64]:
    """sqrt(sum x^2) over the last two dimensions, scaled so that no square under- or overflows."""
    x = np.asarray(x, np.float64)
    if x.size == 0:
        return np.zeros(x.shape[:-2])
    largest = np.abs(x).max((-2, -1), keepdims=True)
    scale = np.where((largest > 0) & np.isfinite(largest), largest, 1.0)
    with np.errstate(invalid="ignore"):
        norm = np.sqrt(((x / scale) ** 2).sum((-2, -1)))
    result: NDArray[np.float64] = norm * scale[..., 0, 0]
    return result
