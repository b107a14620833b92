"""Plain torch: serves every device that torch serves, and is the fallback of everything else."""

from ortho_kernels.backends.eager.all_finite import all_finite, supports_all_finite
from ortho_kernels.backends.eager.frobenius_norm import frobenius_norm, supports_frobenius_norm
from ortho_kernels.backends.eager.orthogonal_step_ import (
    orthogonal_step_,
    supports_orthogonal_step_,
)
from ortho_kernels.backends.eager.polar import polar, polar_foreach, supports_polar
from ortho_kernels.backends.eager.sketch import sketch, supports_sketch
from ortho_kernels.backends.eager.window_step_ import supports_window_step_, window_step_

__all__ = [
    "all_finite",
    "frobenius_norm",
    "orthogonal_step_",
    "polar",
    "polar_foreach",
    "sketch",
    "supports_all_finite",
    "supports_frobenius_norm",
    "supports_orthogonal_step_",
    "supports_polar",
    "supports_sketch",
    "supports_window_step_",
    "window_step_",
]
