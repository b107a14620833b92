"""The fused optimiser step."""

from __future__ import annotations

from ortho_kernels.backends.native.loading import module
from ortho_kernels.backends.native.polar import native_options, supports_polar
from ortho_kernels.options import PolarOptions
from ortho_kernels.steps import StepOptions, StepTensors

supports_orthogonal_step_ = supports_polar  # the factor decides: the rest runs where it does


def orthogonal_step_(
    options: PolarOptions,
    step: StepOptions,
    tensors: StepTensors,
) -> None:
    module.orthogonal_step_(
        native_options(options),
        *tensors,
        placement=step.placement,
        lr=step.lr,
        momentum=step.momentum,
        dampening=step.dampening,
        weight_decay=step.weight_decay,
        average=step.average,
        nesterov=step.nesterov,
        maximize=step.maximize,
        decoupled=step.decay == "decoupled",
    )
