"""What a fused optimiser step is told, checked in words."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from ortho_kernels.checks import quoted

if TYPE_CHECKING:
    from torch import Tensor

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


class StepTensors(NamedTuple):
    """What one step goes over: lists of one length, of which `momenta` may be empty for none."""

    weights: Sequence[Tensor]
    gradients: Sequence[Tensor]
    momenta: Sequence[Tensor]
    row_blocks: Sequence[int]
    scales: Sequence[float]
    fresh: Sequence[bool]

    def check(self, op: str) -> None:
        count = len(self.weights)
        for name, one in zip(self._fields, self, strict=True):
            if len(one) != count and (one or name != "momenta"):
                raise ValueError(
                    f"{op}: {name} must have length {count} like weights, got {len(one)}"
                )
        if not all(map(math.isfinite, self.scales)):
            i, scale = next((i, s) for i, s in enumerate(self.scales) if not math.isfinite(s))
            raise ValueError(f"{op}: scales[{i}] must be finite, got {scale}")

    def pick(self, indices: Sequence[int]) -> StepTensors:
        picked: list[Any] = [[one[i] for i in indices] if one else [] for one in self]
        return StepTensors(*picked)
