"""Power iteration on the window of gradients, on a CPU."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from ortho_kernels.backends.native.loading import module, reason


def supports_window_step_(window: Tensor, gradients: Sequence[Tensor]) -> str:
    if module is None:
        return reason
    for x in (window, *gradients):
        if not x.is_cpu:
            return f"its kernels run on cpu, got a tensor on {x.device}"
    return ""


def window_step_(
    window: Tensor,
    gram: Tensor,
    coefficients: Tensor,
    gradients: Sequence[Tensor],
    slot: int,
    filled: int,
    sigma: float,
    out: Tensor,
) -> None:
    module.window_step_(window, gram, coefficients, gradients, slot, filled, sigma, out)
