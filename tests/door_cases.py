"""What the tests of the Python door share."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

_native = pytest.importorskip("ortho_kernels._native", reason="the native module was not built")

EXACT = _native.PolarOptions("exact")


def matrix(*shape: int, dtype: str = "float32", seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape).astype(dtype)


def polar(x: np.ndarray, options: Any = EXACT) -> np.ndarray:
    """Through the plainest road: contiguous NumPy arrays. The others are compared with it."""
    out = np.empty(x.shape, x.dtype)
    _native.polar(options, np.ascontiguousarray(x), out)
    return out


def same_bits(a: Any, b: Any) -> bool:
    return np.asarray(a).tobytes() == np.asarray(b).tobytes()


F32 = matrix(2, 3)
FOREIGN = F32.astype(">f4")  # a byte order that DLPack cannot say
