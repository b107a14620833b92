"""The op `polar`: the polar factor U V^T of every matrix of a tensor."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from ortho_kernels import checks, tensors
from ortho_kernels.backends import eager, native
from ortho_kernels.coefficients import Triple
from ortho_kernels.ops import polar_gradient, registry
from ortho_kernels.options import PolarOptions, given, polar_options

# ---- Public function ----------------------------------------------------------------------------


def polar(
    x: Tensor,
    method: str = "auto",
    *,
    coefficients: str | Sequence[Triple] | None = None,
    steps: int | None = None,
    precision: str | None = None,
    rank: str = "truncate",
    rtol: float | str | None = None,
    backend: str | None = None,
    out: Tensor | None = None,
) -> Tensor:
    """The polar factor U V^T of the matrices x = U S V^T, shaped (..., m, n), in the dtype of x.

    The last two dimensions are the matrix: a bare 4-d convolution gradient is read as a batch of
    kernel-sized matrices, which is rarely meant. Use `polar_foreach`, or `x.flatten(1)`, for those.

    method: "auto" and "exact" (to rounding), "svd" (LAPACK through torch), or one that only
        approaches the factor: "newton" (close to it down to 1e-3 of sigma_1, and fast), and the
        polynomials "polar_express" and "newton_schulz".
    coefficients: of a polynomial: a name from `ortho_kernels.coefficients`, or (a, b, c) triples,
        one a step. A table shorter than `steps` repeats its last triple; `steps` defaults to the
        table's length, and for a single triple to the method's own number (8 and 5).
    precision: of a polynomial's products: "float32" (default), "float16", "bfloat16".
    rank: "truncate" drops singular values up to rtol * sigma_1, so zeros stay zero; "complete"
        makes every one of them 1, whatever the input. Exact methods only.
    rtol: a number, "bf16" for gradients that came out of bfloat16 arithmetic, or None: 4 eps of the
        input's dtype, of float32's for half types.
    backend: None takes the first that can serve; a name takes that one or raises.
    out: written and returned; x itself is allowed.

    A matrix that holds a NaN or an Inf comes back all NaN. Exact methods are differentiable where x
    has full rank (elsewhere the gradient is NaN); the others raise where one is asked for.
    """
    tensors.check_tensor("polar", "x", x)
    options = given("polar", coefficients, steps, precision, rank, rtol, backend)
    if out is None:
        factor: Tensor = _op(x, method, **options)
        return factor
    tensors.check_tensor("polar", "out", out)
    _op_out(x, out, method, **options)
    return out


# ---- Schema -------------------------------------------------------------------------------------

# `coefficients` is a flat table of (a, b, c) triples, `polynomial` the name of one.
OPTIONS = (
    'str method="auto", *, str? polynomial=None, float[]? coefficients=None, int? steps=None, '
    'str? precision=None, str rank="truncate", float? rtol=None, str? backend=None'
)


def resolve(
    op: str,
    method: str = "auto",
    *,
    polynomial: str | None = None,
    coefficients: Sequence[float] | None = None,
    steps: int | None = None,
    precision: str | None = None,
    rank: str = "truncate",
    rtol: float | None = None,
    backend: str | None = None,
) -> tuple[PolarOptions, str | None]:
    """The schema's options, checked; every kernel of this op and of polar_foreach begins here."""
    table = None if coefficients is None else tuple(coefficients)
    if backend is not None and backend not in BACKENDS:
        names = checks.quoted(BACKENDS)
        raise ValueError(f"{op}: backend must be None, {names}, got {backend!r}")
    return polar_options(op, method, polynomial, table, steps, precision, rank, rtol), backend


# ---- Fake ---------------------------------------------------------------------------------------


def _fake(x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
    resolve("polar", *args, **kwargs)
    tensors.check_matrices("polar", "x", x)
    return torch.empty_like(x)


def _fake_out(x: Tensor, out: Tensor, *args: Any, **kwargs: Any) -> None:
    resolve("polar", *args, **kwargs)
    tensors.check_matrices("polar", "x", x)
    checks.check_like("polar", "out", "x", tensors.fake_layout(out), tensors.fake_layout(x))


# ---- Backend order ------------------------------------------------------------------------------

BACKENDS: dict[str, Any] = {"native": native, "eager": eager}
_DEFAULT, _ = resolve("polar")
# The usual call looks nothing up: what the selector says of CPU tensors is asked once.
_native_default = native.polar_by(_DEFAULT)
_native_serves_cpu = not native.supports_polar(_DEFAULT, torch.empty(0, 0))
_empty_like, _is_plain = torch.empty_like, registry.is_plain


def _serve(options: PolarOptions, backend: str | None, x: Tensor, out: Tensor) -> None:
    """By the backend asked for, or the first that can; each checks x in the same words."""
    for name in BACKENDS if backend is None else (backend,):
        if not (reason := BACKENDS[name].supports_polar(options, x)):
            BACKENDS[name].polar(options, x, out)
            return
    checks.refuse_backend("polar", name, reason)


def _kernel(x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
    options, backend = resolve("polar", *args, **kwargs)
    out = _empty_like(x)
    _serve(options, backend, x, out)
    return out


def _kernel_out(x: Tensor, out: Tensor, *args: Any, **kwargs: Any) -> None:
    options, backend = resolve("polar", *args, **kwargs)
    tensors.check_matrices("polar", "x", x)
    checks.check_output("polar", "out", "x", tensors.layout(out), tensors.layout(x))
    _serve(options, backend, x, out)


# ---- Gradient -----------------------------------------------------------------------------------


class _Polar(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, args: Any, kwargs: Any) -> Tensor:
        options, _ = resolve("polar", *args, **kwargs)
        polar_gradient.check_differentiable("polar", options)
        ctx.save_for_backward(x)
        ctx.rtol = options.threshold(tensors.words(x.dtype))
        with registry.below_autograd():
            out: Tensor = _op(x, *args, **kwargs)
        return out

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        (x,) = ctx.saved_tensors
        return polar_gradient.vjp(x, grad, ctx.rtol), None, None


def _autograd(x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
    if _is_plain(x):
        if args or kwargs or not (x.is_cpu and _native_serves_cpu):
            return _kernel(x, *args, **kwargs)
        plain = _empty_like(x)  # the usual case, by the shortest way
        _native_default(x, plain)
        return plain
    if registry.wants_gradient(x):
        tensors.check_matrices("polar", "x", x)
        factor: Tensor = _Polar.apply(x, args, kwargs)  # type: ignore[no-untyped-call]
        return factor
    with registry.below_autograd():
        out: Tensor = _op(x, *args, **kwargs)
    return out


def _autograd_out(x: Tensor, out: Tensor, *args: Any, **kwargs: Any) -> None:
    polar_gradient.refuse_out("polar", (x, out))
    with registry.below_autograd():
        _op_out(x, out, *args, **kwargs)
    polar_gradient.mark_written((out,))


_op = registry.register(
    "polar", f"(Tensor x, {OPTIONS}) -> Tensor", kernel=_kernel, fake=_fake, autograd=_autograd
)
_op_out = registry.register(
    "polar_out",
    f"(Tensor x, Tensor(a!) out, {OPTIONS}) -> ()",
    kernel=_kernel_out,
    fake=_fake_out,
    autograd=_autograd_out,
)
