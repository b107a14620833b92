"""The Frobenius norms, in float64."""

from __future__ import annotations

import torch
from torch import Tensor

from ortho_kernels.backends.eager.scales import power_of_two_scale
from ortho_kernels.backends.eager.serves import dense_only

supports_frobenius_norm = dense_only


def frobenius_norm(x: Tensor, out: Tensor) -> None:
    if x.is_meta or x.numel() == 0:
        out.zero_()
        return
    wide = x.to(torch.float64)
    scale = power_of_two_scale(wide)
    norm = (wide * scale[0] * scale[1]).square().sum((-2, -1)).sqrt()
    out.copy_(norm / scale[0][..., 0, 0] / scale[1][..., 0, 0])
