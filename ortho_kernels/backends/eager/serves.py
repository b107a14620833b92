"""What plain torch cannot serve."""

from __future__ import annotations

import torch
from torch import Tensor


def dense_only(x: Tensor) -> str:
    return "" if x.layout == torch.strided else f"it needs dense tensors, got {x.layout}"
