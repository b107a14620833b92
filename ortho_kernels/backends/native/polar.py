"""The polar factors."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache, partial
from typing import TYPE_CHECKING

from torch import Tensor

from ortho_kernels.backends.native.loading import module, reason
from ortho_kernels.options import PolarOptions

if TYPE_CHECKING:
    from ortho_kernels import _native

_polar = module.polar if module is not None else None


def supports_polar(options: PolarOptions, x: Tensor) -> str:
    if module is None:
        return reason
    if x.is_cpu and options.method != "svd":
        return ""
    if options.method == "svd":
        return "method 'svd' is LAPACK through torch, which backend 'eager' serves"
    return f"its polar kernels run on cpu, got a tensor on {x.device}"


@lru_cache(maxsize=512)
def native_options(options: PolarOptions) -> _native.PolarOptions:
    if options.method == "exact":
        return module.PolarOptions("exact", rank=options.rank, rtol=options.rtol)
    if options.method == "newton":
        return module.PolarOptions("newton")
    flat = [value for triple in options.coefficients for value in triple]
    return module.PolarOptions("polynomial", coefficients=flat, precision=options.precision)


def polar(options: PolarOptions, x: Tensor, out: Tensor) -> None:
    _polar(native_options(options), x, out)


def polar_by(options: PolarOptions) -> Callable[[Tensor, Tensor], None]:
    """`polar` with its options bound, for calls that are counted in tenths of a microsecond."""
    return (
        partial(_polar, native_options(options)) if module is not None else partial(polar, options)
    )


def polar_foreach(
    options: PolarOptions, xs: Sequence[Tensor], outs: Sequence[Tensor], row_blocks: Sequence[int]
) -> None:
    module.polar_foreach(native_options(options), xs, outs, row_blocks)
