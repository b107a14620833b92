"""From what a caller may write to what a backend is told: methods, tables, ranks, thresholds.

Resolving is cached, so that a call which repeats its options pays one dictionary look-up for them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NoReturn

from ortho_kernels import coefficients as tables
from ortho_kernels.checks import quoted
from ortho_kernels.coefficients import Triple

EXACT_METHODS = ("exact", "svd", "auto")
# Default table and number of steps of each polynomial method.
POLYNOMIAL_METHODS = {"polar_express": ("polar_express", 8), "newton_schulz": ("keller_jordan", 5)}
METHODS = ("auto", "exact", "newton", "svd", *POLYNOMIAL_METHODS)
RANKS = ("truncate", "complete")
PRECISIONS = ("float32", "float16", "bfloat16")
# What a method may be asked to compute in; the others follow the input.
PRECISIONS_OF = {"newton": ("float32",), **dict.fromkeys(POLYNOMIAL_METHODS, PRECISIONS)}
EPS = {"float16": 2.0**-23, "bfloat16": 2.0**-23, "float32": 2.0**-23, "float64": 2.0**-52}

# Gradients that came out of bfloat16 arithmetic carry noise of 2e-4 to 8e-4 of sigma_1, which an
# exact factor would blow up to full size. The threshold lies a factor 2.4 above the largest of it:
# more than the factor 2 within which a singular value may go either way.
RTOL_BF16 = 2.0**-9

# `newton` adds this fraction of ||G|| to the diagonal of G = X X^T in place of a rank decision:
# five rounding units of float32, so that a singular G is safely definite there.
NEWTON_RIDGE = 3e-7


@dataclass(frozen=True, eq=False)  # equal by identity: the cache below makes equal ones identical
class PolarOptions:
    """What a backend is told; `method` is "exact", "newton", "svd" or "polynomial"."""

    asked: str  # the method in the caller's words
    method: str
    coefficients: tuple[Triple, ...] = ()
    precision: str = "float32"
    rank: str = "truncate"
    rtol: float | None = None

    def threshold(self, dtype: str) -> float:
        """Singular values up to this fraction of the largest are dropped."""
        return 4 * EPS[dtype] if self.rtol is None else self.rtol


@lru_cache(maxsize=512)
def polar_options(
    op: str,
    method: str,
    polynomial: str | None = None,
    coefficients: tuple[float, ...] | None = None,
    steps: int | None = None,
    precision: str | None = None,
    rank: str = "truncate",
    rtol: float | None = None,
) -> PolarOptions:
    """Checks and resolves; `polynomial` is a name, `coefficients` a flat table of triples."""
    if method not in METHODS:
        raise ValueError(f"{op}: method must be {quoted(METHODS)}, got {method!r}")
    if rank not in RANKS:
        raise ValueError(f"{op}: rank must be {quoted(RANKS)}, got {rank!r}")
    if rtol is not None and not rtol >= 0:
        raise ValueError(f"{op}: rtol must be >= 0, got {rtol}")
    if precision is not None and precision not in PRECISIONS:
        raise ValueError(f"{op}: precision must be {quoted(PRECISIONS)}, got {precision!r}")
    if steps is not None and steps < 1:
        raise ValueError(f"{op}: steps must be >= 1, got {steps}")
    if method not in POLYNOMIAL_METHODS:
        table = None if coefficients is None else f"a table of {len(coefficients) // 3}"
        for name, value in (
            ("coefficients", polynomial if polynomial is not None else table),
            ("steps", steps),
        ):
            if value is not None:
                _refuse(op, name, value, tuple(POLYNOMIAL_METHODS), method)
    if precision is not None and precision not in PRECISIONS_OF.get(method, ()):
        methods = [name for name, precisions in PRECISIONS_OF.items() if precision in precisions]
        _refuse(op, "precision", precision, methods, method)
    if method in EXACT_METHODS:
        return PolarOptions(method, "svd" if method == "svd" else "exact", rank=rank, rtol=rtol)
    if rank == "complete":
        _refuse(op, "rank", rank, EXACT_METHODS, method)
    if rtol is not None:
        _refuse(op, "rtol", rtol, EXACT_METHODS, method)
    if method == "newton":
        return PolarOptions(method, "newton")
    precision = precision or "float32"
    triples = _table(op, method, polynomial, coefficients, steps, precision)
    return PolarOptions(method, "polynomial", coefficients=triples, precision=precision)


def _refuse(op: str, name: str, value: object, methods: Sequence[str], method: str) -> NoReturn:
    raise ValueError(f"{op}: {name}={value!r} needs method {quoted(methods)}, got {method!r}")


def _table(
    op: str,
    method: str,
    polynomial: str | None,
    coefficients: tuple[float, ...] | None,
    steps: int | None,
    precision: str,
) -> tuple[Triple, ...]:
    default_name, default_steps = POLYNOMIAL_METHODS[method]
    safety = 1.0
    triples: tuple[Triple, ...]
    if coefficients is not None:
        if not coefficients or len(coefficients) % 3 or not all(map(math.isfinite, coefficients)):
            raise ValueError(
                f"{op}: coefficients must be finite (a, b, c) triples, got {coefficients}"
            )
        triples = tuple(zip(*(coefficients[i::3] for i in range(3)), strict=True))
    else:
        name = polynomial if polynomial is not None else default_name
        if name not in tables.BY_NAME:
            raise ValueError(
                f"{op}: coefficients must be {quoted(tables.BY_NAME)}, or (a, b, c) triples, "
                f"got {name!r}"
            )
        triples = tables.BY_NAME[name].triples
        safety = tables.BY_NAME[name].half_safety
    if steps is None:  # a single triple has no length of its own
        steps = len(triples) if len(triples) > 1 else default_steps
    triples = tables.expand(triples, steps)
    return triples if precision == "float32" else tables.divide(triples, safety)


def given(
    op: str,
    coefficients: Any,
    steps: int | None,
    precision: str | None,
    rank: str,
    rtol: Any,
    backend: str | None,
) -> dict[str, Any]:
    """What the caller gave, for the op's schema: the dispatcher charges for each argument."""
    options: dict[str, Any] = {}
    if coefficients is not None:
        polynomial, table = _split_coefficients(op, coefficients)
        options["polynomial" if table is None else "coefficients"] = polynomial or table
    if steps is not None:
        options["steps"] = _whole(op, "steps", steps)
    if precision is not None:
        options["precision"] = _word(op, "precision", precision)
    if rank != "truncate":
        options["rank"] = _word(op, "rank", rank)
    if rtol is not None:
        options["rtol"] = _number_rtol(op, rtol)
    if backend is not None:
        options["backend"] = _word(op, "backend", backend)
    return options


def _word(op: str, name: str, value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{op}: {name} must be a str, got {type(value).__name__}")
    return value


def _whole(op: str, name: str, value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{op}: {name} must be an int, got {type(value).__name__}")
    return value


def _split_coefficients(op: str, coefficients: Any) -> tuple[str, list[float] | None]:
    """The public argument (a name, or triples) as the op's schema takes it: name, flat table."""
    if isinstance(coefficients, str):
        return coefficients, None
    try:
        flat = [float(value) for triple in coefficients for value in _three(triple)]
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"{op}: coefficients must be a name or a sequence of (a, b, c) triples, "
            f"got {coefficients!r}"
        ) from error
    return "", flat


def _three(triple: Any) -> tuple[Any, Any, Any]:
    a, b, c = triple
    return a, b, c


def _number_rtol(op: str, rtol: Any) -> float:
    """The public argument (a number, or "bf16") as the op's schema takes it."""
    if isinstance(rtol, str):
        if rtol != "bf16":
            raise ValueError(f"{op}: rtol must be a number >= 0 or 'bf16', got {rtol!r}")
        return RTOL_BF16
    if isinstance(rtol, bool) or not isinstance(rtol, (int, float)):
        raise TypeError(f"{op}: rtol must be a number >= 0 or 'bf16', got {type(rtol).__name__}")
    return float(rtol)
