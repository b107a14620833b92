"""The count-sketch, on a CPU."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from ortho_kernels.backends.native.loading import module, reason


def supports_sketch(tensors: Sequence[Tensor]) -> str:
    if module is None:
        return reason
    for x in tensors:
        if not x.is_cpu:
            return f"its kernels run on cpu, got a tensor on {x.device}"
    return ""


def sketch(tensors: Sequence[Tensor], seed: int, out: Tensor) -> None:
    module.sketch(tensors, seed % 2**64, out)
