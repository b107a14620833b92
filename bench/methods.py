"""Every method of ``ok.polar_foreach``, a whole model in one call."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

from torch import Tensor

import ortho_kernels as ok
from bench.contender import (
    EASY,
    EXACT,
    LAPACK,
    Contender,
    Piece,
    Promise,
    polynomial_operations,
    polynomial_promise,
)
from bench.truth import polynomial, ridged
from ortho_kernels import options

POLYNOMIALS = (("polar_express", 8), ("polar_express", 5), ("newton_schulz", 5))


def contenders() -> list[Contender]:
    """Those that the installed package knows."""
    return [
        _contender("exact", EXACT),
        *([_newton()] if "newton" in options.METHODS else []),
        *(_polynomial(method, steps) for method, steps in POLYNOMIALS),
        _contender("svd", LAPACK),
    ]


def _contender(method: str, promise: Promise, name: str = "", **rest: Any) -> Contender:
    def prepare(gradients: Sequence[Tensor]) -> list[Piece]:
        call = partial(ok.polar_foreach, list(gradients), method, **rest.get("options", {}))
        return [Piece(tuple(range(len(gradients))), call)]

    operations = rest.get("operations")
    return Contender(f"ok {name or method}", promise, prepare, ours=True, operations=operations)


def _newton() -> Contender:
    promise = Promise(
        "the polar factor of a matrix with a ridge; its float32 rounding grows with the condition",
        bound=lambda condition: 1e-3 if condition <= EASY else 0.2,
        spectral_map=ridged(options.NEWTON_RIDGE),
    )
    return _contender("newton", promise)


def _polynomial(method: str, steps: int) -> Contender:
    table = options.polar_options("bench", method, steps=steps).coefficients
    return _contender(
        method,
        polynomial_promise(polynomial(table)),
        f"{method} {steps}",
        options={"steps": steps},
        operations=polynomial_operations(steps),
    )
