"""The screen for NaN and Inf: one read, on a CPU."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ortho_kernels.backends.native.loading import module, reason


def supports_all_finite(x: Tensor) -> str:
    if module is None:
        return reason
    if not x.is_cpu:
        return f"its kernel runs on cpu, got a tensor on {x.device}"
    return "" if x.layout is torch.strided else f"it needs dense tensors, got {x.layout}"


def all_finite(tensors: Sequence[Tensor]) -> Tensor:
    return torch.tensor(module.all_finite(tensors))


def all_finite_at_once(tensors: Sequence[Tensor]) -> Tensor | None:
    """The answer without a look at each tensor in Python, which would cost more than the answer.

    None: the kernel refuses one of them, and the long way says why or serves it.
    """
    if module is None or not (tensors and tensors[0].is_cpu):
        return None
    try:
        return all_finite(tensors)
    except (TypeError, ValueError, RuntimeError):
        return None
