"""What a fused optimiser step is told, checked in words."""

from __future__ import annotations

import math
from dataclasses import dataclass

from ortho_kernels.checks import quoted

PLACEMENTS = ("gradient", "update")
DECAYS = ("coupled", "decoupled")


@dataclass(frozen=True)
class StepOptions:
    """The numbers and words of one step, for all its tensors; ortho.h has the formulas."""

    lr: float
    momentum: float = 0.0
    dampening: float = 0.0
    weight_decay: float = 0.0
    placement: str = "gradient"
    decay: str = "coupled"
    average: bool = False
    nesterov: bool = False
    maximize: bool = False

    def check(self, op: str) -> None:
        for name, words in (("placement", PLACEMENTS), ("decay", DECAYS)):
            value = getattr(self, name)
            if value not in words:
                raise ValueError(f"{op}: {name} must be {quoted(words)}, got {value!r}")
        for name in ("lr", "momentum", "dampening", "weight_decay"):
            value = getattr(self, name)
            if not math.isfinite(value):
                raise ValueError(f"{op}: {name} must be finite, got {value}")
