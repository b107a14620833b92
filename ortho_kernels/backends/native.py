"""The compiled backend: C++ kernels behind the C ABI, reached through DLPack."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from functools import lru_cache, partial
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING

from torch import Tensor

from ortho_kernels.options import PolarOptions
from ortho_kernels.steps import StepOptions, StepTensors

if TYPE_CHECKING:
    from ortho_kernels import _native


def _load() -> tuple[ModuleType | None, str]:
    if os.environ.get("ORTHO_NO_NATIVE", "0") not in ("", "0"):
        return None, "ORTHO_NO_NATIVE is set"
    try:
        return import_module("ortho_kernels._native"), ""
    except ModuleNotFoundError:
        return None, "the native module was not built"
    except ImportError as error:  # built, but it does not load here: the loader's words say why
        return None, f"the native module does not load: {error}"


if TYPE_CHECKING:
    module = _native
    reason = ""
else:
    module, reason = _load()


_polar = module.polar if module is not None else None


def supports_polar(options: PolarOptions, x: Tensor) -> str:
    if module is None:
        return reason
    if x.is_cpu and options.method != "svd":
        return ""
    if options.method == "svd":
        return "method 'svd' is LAPACK through torch, which backend 'eager' serves"
    return f"its polar kernels run on cpu, got a tensor on {x.device}"


supports_orthogonal_step_ = supports_polar  # the factor decides: the rest runs where it does


def supports_frobenius_norm(x: Tensor) -> str:
    if module is None:
        return reason
    if x.is_cpu:
        return ""
    if not x.is_cuda:
        return f"its kernels run on cpu and cuda, got a tensor on {x.device}"
    return "" if _cuda_archs() else "it was built without CUDA"


@lru_cache(maxsize=1)
def _cuda_archs() -> str:
    return module.cuda_archs()


@lru_cache(maxsize=512)
def _options(options: PolarOptions) -> _native.PolarOptions:
    if options.method == "exact":
        return module.PolarOptions("exact", rank=options.rank, rtol=options.rtol)
    if options.method == "newton":
        return module.PolarOptions("newton")
    flat = [value for triple in options.coefficients for value in triple]
    return module.PolarOptions("polynomial", coefficients=flat, precision=options.precision)


def polar(options: PolarOptions, x: Tensor, out: Tensor) -> None:
    _polar(_options(options), x, out)


def polar_by(options: PolarOptions) -> Callable[[Tensor, Tensor], None]:
    """`polar` with its options bound, for calls that are counted in tenths of a microsecond."""
    return partial(_polar, _options(options)) if module is not None else partial(polar, options)


def polar_foreach(
    options: PolarOptions, xs: Sequence[Tensor], outs: Sequence[Tensor], row_blocks: Sequence[int]
) -> None:
    module.polar_foreach(_options(options), xs, outs, row_blocks)


def orthogonal_step_(
    options: PolarOptions,
    step: StepOptions,
    tensors: StepTensors,
) -> None:
    module.orthogonal_step_(
        _options(options),
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


def frobenius_norm(x: Tensor, out: Tensor) -> None:
    module.frobenius_norm(x, out)
