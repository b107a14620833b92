"""The screen for NaN and Inf, by the largest magnitude of each tensor."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ortho_kernels.backends.eager.serves import dense_only

supports_all_finite = dense_only


def all_finite(tensors: Sequence[Tensor]) -> Tensor:
    """On the first tensor's device; nothing waits for it where all are on one."""
    device = tensors[0].device if tensors else torch.device("cpu")
    finite = torch.ones((), dtype=torch.bool, device=device)
    kinds: dict[tuple[torch.device, torch.dtype], list[Tensor]] = {}
    for x in tensors:
        real = torch.view_as_real(x.resolve_conj()) if x.is_complex() else x
        if real.numel():
            kinds.setdefault((real.device, real.dtype), []).append(real)
    for kind in kinds.values():
        # The maximum norm cannot overflow, and hands NaN and Inf on.
        largest = torch.stack(torch._foreach_norm(kind, float("inf")))
        finite = finite & torch.isfinite(largest).all().to(device)
    return finite
