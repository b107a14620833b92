"""One optimiser step on orthogonalised gradients or updates, in float64, out of place."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def orthogonal_step_(
    weight: Array,
    gradient: Array,
    buffer: Array | None,
    polar: Callable[[Array], Array],
    *,
    lr: float,
    momentum: float = 0.0,
    dampening: float = 0.0,
    weight_decay: float = 0.0,
    placement: str = "gradient",
    decay: str = "coupled",
    average: bool = False,
    nesterov: bool = False,
    maximize: bool = False,
    scale: float = 1.0,
    fresh: bool = False,
) -> tuple[Array, Array | None]:
    """The new weight and buffer; `polar` maps a tensor of their shape to its factor."""
    sign = -1.0 if maximize else 1.0
    update = placement == "update"
    g = sign * gradient if update else sign * scale * polar(gradient)
    if decay == "coupled":
        g = g + weight_decay * weight
    direction = g
    if buffer is not None:
        before = np.zeros_like(g) if fresh else buffer
        if average:
            buffer = momentum * before + (1 - momentum) * g
            direction = momentum * buffer + (1 - momentum) * g if nesterov else buffer
        else:
            buffer = g if fresh else momentum * before + (1 - dampening) * g
            direction = g + momentum * buffer if nesterov else buffer
    if update:
        direction = scale * polar(direction)
    kept = 1 - lr * weight_decay if decay == "decoupled" else 1.0
    return kept * weight - lr * direction, buffer
