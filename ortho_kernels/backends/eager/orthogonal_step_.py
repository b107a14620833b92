"""The fused optimiser step, one tensor after the other."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ortho_kernels.backends.eager.polar import polar_factor, supports_polar
from ortho_kernels.matrices import as_matrices
from ortho_kernels.options import PolarOptions
from ortho_kernels.steps import StepOptions, StepTensors
from ortho_kernels.tensors import check_inputs

supports_orthogonal_step_ = supports_polar  # the factor decides: the rest runs where it does


def orthogonal_step_(
    options: PolarOptions,
    step: StepOptions,
    tensors: StepTensors,
) -> None:
    check_inputs("orthogonal_step_", tensors.gradients, tensors.row_blocks, "gradients")
    weights, gradients, momenta, *how = tensors
    buffers: Sequence[Tensor | None] = momenta or [None] * len(weights)
    for w, g, v, blocks, scale, fresh in zip(weights, gradients, buffers, *how, strict=True):
        if not g.is_meta:
            _step(options, step, w, g, v, blocks, scale, fresh)


def _step(
    options: PolarOptions,
    step: StepOptions,
    w: Tensor,
    g: Tensor,
    v: Tensor | None,
    row_blocks: int,
    scale: float,
    fresh: bool,
) -> None:
    """Half types are float32 from one store to the next."""
    wide = torch.float64 if g.dtype == torch.float64 else torch.float32

    def scaled_factor(x: Tensor) -> Tensor:
        matrices = as_matrices(x.to(g.dtype), row_blocks)
        return polar_factor(options, matrices).reshape(g.shape).to(wide) * scale

    x = g.to(wide) if step.placement == "update" else scaled_factor(g)
    x = -x if step.maximize else x
    weight = w.to(wide)
    if step.decay == "coupled" and step.weight_decay != 0:
        x = x + step.weight_decay * weight
    if v is not None:
        x = _remember(step, x, v, fresh)
    if step.placement == "update":
        x = scaled_factor(x)
    if step.decay == "decoupled" and step.weight_decay != 0:
        weight = weight * (1 - step.lr * step.weight_decay)
    w.copy_(weight - step.lr * x)


def _remember(step: StepOptions, x: Tensor, v: Tensor, fresh: bool) -> Tensor:
    """The direction; v becomes what it remembers."""
    if step.average:
        before = torch.zeros_like(x) if fresh else v.to(x.dtype)
        buffer = torch.lerp(before, x, 1 - step.momentum)
        direction = torch.lerp(x, buffer, step.momentum) if step.nesterov else buffer
    else:
        buffer = x if fresh else v.to(x.dtype) * step.momentum + (1 - step.dampening) * x
        direction = x + step.momentum * buffer if step.nesterov else buffer
    v.copy_(buffer)
    return direction
