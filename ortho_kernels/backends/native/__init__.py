"""The compiled backend: C++ kernels behind the C ABI, reached through DLPack."""

from ortho_kernels.backends.native.all_finite import (
    all_finite,
    all_finite_at_once,
    supports_all_finite,
)
from ortho_kernels.backends.native.frobenius_norm import frobenius_norm, supports_frobenius_norm
from ortho_kernels.backends.native.loading import module, reason
from ortho_kernels.backends.native.orthogonal_step_ import (
    orthogonal_step_,
    supports_orthogonal_step_,
)
from ortho_kernels.backends.native.polar import polar, polar_by, polar_foreach, supports_polar
from ortho_kernels.backends.native.sketch import sketch, supports_sketch
from ortho_kernels.backends.native.window_step_ import supports_window_step_, window_step_

__all__ = [
    "all_finite",
    "all_finite_at_once",
    "frobenius_norm",
    "module",
    "orthogonal_step_",
    "polar",
    "polar_by",
    "polar_foreach",
    "reason",
    "sketch",
    "supports_all_finite",
    "supports_frobenius_norm",
    "supports_orthogonal_step_",
    "supports_polar",
    "supports_sketch",
    "supports_window_step_",
    "window_step_",
]
