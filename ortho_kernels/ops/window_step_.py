"""The op `window_step_`: power iteration on the last gradients, in one pass over them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from torch import Tensor

from ortho_kernels import checks
from ortho_kernels.backends import eager, native
from ortho_kernels.ops import polar_gradient, registry
from ortho_kernels.tensors import DTYPES, check_tensor, check_tensors, layout, words

NAME = "window_step_"

# ---- Public function ----------------------------------------------------------------------------


def window_step_(
    window: Tensor,
    gram: Tensor,
    coefficients: Tensor,
    gradients: Iterable[Tensor],
    slot: int,
    filled: int,
    *,
    sigma: float = 1.0,
    backend: str | None = None,
) -> Tensor:
    """One step of power iteration on the window of the last gradients: (eigenvalue, |cosine|).

    The gradient takes row `slot` of the window S, and the unit vector v = S^T c moves one step
    towards the top eigenvector of S^T S: w = S^T S v, eigenvalue = sqrt(||w|| / filled) / sigma,
    v = w / ||w||, cosine = |g^T v| / ||g||. Where w is 0, as at the first gradient, v starts again
    from g / ||g||.

    window: S (s, p), float32 or bfloat16, rows contiguous; the gradient is rounded to its type.
    gram, coefficients: S S^T (s, s) and c (s,), float64, zeros before the first step.
    gradients: tensors of any shapes and dtypes, p numbers in all; they are not copied together.
    filled: how many rows hold gradients after this one; slot < filled. The others are not read.
    sigma: the size of the parameter displacements that the gradients come from.

    Window, gram and coefficients are written. A gradient that is not finite leaves them as they
    are, and both numbers are NaN. The result is float64, (2,), on the window's device.
    """
    for name, x in (("window", window), ("gram", gram), ("coefficients", coefficients)):
        check_tensor(NAME, name, x)
    gradients = list(gradients)
    check_tensors(NAME, "gradients", gradients)
    at_once = registry.nobody_waits([window, gram, coefficients], gradients)
    result: Tensor = (_at_once if at_once else _op)(
        window, gram, coefficients, gradients, slot, filled, sigma, backend=backend
    )
    return result


# ---- Schema -------------------------------------------------------------------------------------

SCHEMA = (
    "(Tensor(a!) window, Tensor(b!) gram, Tensor(c!) coefficients, Tensor[] gradients, int slot, "
    "int filled, float sigma=1.0, *, str? backend=None) -> Tensor"
)


def _check_numbers(name: str, x: Tensor, shape: tuple[int, ...]) -> None:
    if x.dtype not in DTYPES:
        _refuse_dtype(name, x)
    if x.dtype != torch.float64:
        raise TypeError(f"{NAME}: {name} must be float64, got {words(x.dtype)}")
    if tuple(x.shape) != shape:
        raise ValueError(f"{NAME}: {name} must have shape {shape}, got {tuple(x.shape)}")
    if not x.is_contiguous():
        raise ValueError(f"{NAME}: {name} must be contiguous, got strides {x.stride()}")


def _refuse_dtype(name: str, x: Tensor) -> None:
    raise TypeError(
        f"{NAME}: {name} must be float16, bfloat16, float32 or float64, got {words(x.dtype)}"
    )


def _check(
    window: Tensor,
    gram: Tensor,
    coefficients: Tensor,
    gradients: Sequence[Tensor],
    slot: int,
    filled: int,
    sigma: float,
) -> None:
    """In the words and the order of csrc/core/window_step_.cc."""
    checks.check_matrices(NAME, "window", words(window.dtype), tuple(window.shape))
    if window.dtype not in (torch.float32, torch.bfloat16):
        raise TypeError(f"{NAME}: window must be float32 or bfloat16, got {words(window.dtype)}")
    if window.dim() != 2 or window.shape[0] < 1:
        shape = tuple(window.shape)
        raise ValueError(f"{NAME}: window must have shape (rows, numbers), got {shape}")
    rows, numbers = window.shape
    stride, step = window.stride()
    if (numbers > 1 and step != 1) or (rows > 1 and stride < numbers):
        raise ValueError(f"{NAME}: window must have contiguous rows, got strides {window.stride()}")
    _check_numbers("gram", gram, (rows, rows))
    _check_numbers("coefficients", coefficients, (rows,))
    if not 1 <= filled <= rows:
        raise ValueError(f"{NAME}: filled must be between 1 and {rows} rows, got {filled}")
    if not 0 <= slot < filled:
        last = filled - 1
        raise ValueError(f"{NAME}: slot must be between 0 and filled - 1 = {last}, got {slot}")
    if not 0 < sigma < math.inf:
        raise ValueError(f"{NAME}: sigma must be finite and > 0, got {sigma:g}")
    count = 0
    for i, g in enumerate(gradients):
        if g.dtype not in DTYPES:
            _refuse_dtype(f"gradients[{i}]", g)
        count += g.numel()
    if count != numbers:
        raise ValueError(
            f"{NAME}: gradients must have {numbers} elements in all like a row of window, "
            f"got {count}"
        )
    named = [("gram", gram), ("coefficients", coefficients)]
    named += [(f"gradients[{i}]", g) for i, g in enumerate(gradients)]
    for name, x in named:
        if x.device != window.device:
            raise ValueError(
                f"{NAME}: {name} must be on {window.device} like window, got {x.device}"
            )


# ---- Fake ---------------------------------------------------------------------------------------


def _fake(
    window: Tensor,
    gram: Tensor,
    coefficients: Tensor,
    gradients: Sequence[Tensor],
    slot: int,
    filled: int,
    sigma: float = 1.0,
    backend: str | None = None,
) -> Tensor:
    del backend
    _check(window, gram, coefficients, gradients, slot, filled, sigma)
    return torch.empty(2, dtype=torch.float64, device=window.device)


# ---- Backend order ------------------------------------------------------------------------------

BACKENDS: dict[str, Any] = {"native": native, "eager": eager}


def _kernel(
    window: Tensor,
    gram: Tensor,
    coefficients: Tensor,
    gradients: Sequence[Tensor],
    slot: int,
    filled: int,
    sigma: float = 1.0,
    backend: str | None = None,
) -> Tensor:
    if backend is not None and backend not in BACKENDS:
        names = checks.quoted(BACKENDS)
        raise ValueError(f"{NAME}: backend must be None, {names}, got {backend!r}")
    _check(window, gram, coefficients, gradients, slot, filled, sigma)
    arrays = [("window", window), ("gram", gram), ("coefficients", coefficients)]
    written = [(name, layout(x), True) for name, x in arrays]
    read = [(f"gradients[{i}]", layout(g), False) for i, g in enumerate(gradients)]
    checks.check_disjoint(NAME, [*written, *read])
    out = torch.empty(2, dtype=torch.float64, device=window.device)
    for name in BACKENDS if backend is None else (backend,):
        if not (reason := BACKENDS[name].supports_window_step_(window, gradients)):
            BACKENDS[name].window_step_(
                window, gram, coefficients, gradients, slot, filled, sigma, out
            )
            return out
    checks.refuse_backend(NAME, name, reason)


# ---- Gradient -----------------------------------------------------------------------------------


def _at_once(
    window: Tensor,
    gram: Tensor,
    coefficients: Tensor,
    gradients: Sequence[Tensor],
    *args: Any,
    kernel: Callable[..., Tensor] = _kernel,
    **kwargs: Any,
) -> Tensor:
    """There is no gradient through the step, and none is silently lost."""
    written = [("window", window), ("gram", gram), ("coefficients", coefficients)]
    if torch.is_grad_enabled():
        for name, x in [*written, *((f"gradients[{i}]", g) for i, g in enumerate(gradients))]:
            if x.requires_grad:
                raise RuntimeError(
                    f"{NAME}: {name} must not meet automatic differentiation, got a tensor that "
                    "requires grad; use torch.no_grad()"
                )
    result = kernel(window, gram, coefficients, gradients, *args, **kwargs)
    polar_gradient.mark_written([window, gram, coefficients])
    return result


def _below(*args: Any, **kwargs: Any) -> Tensor:
    with registry.below_autograd():
        result: Tensor = _op(*args, **kwargs)
    return result


def _autograd(*args: Any, **kwargs: Any) -> Tensor:
    return _at_once(*args, kernel=_below, **kwargs)


_op = registry.register(NAME, SCHEMA, kernel=_kernel, fake=_fake, autograd=_autograd)
