"""The op `frobenius_norm`: sqrt(sum x^2) of every matrix, safe at any scale."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ortho_kernels import checks, tensors
from ortho_kernels.backends import eager, native
from ortho_kernels.ops import registry

# ---- Public function ----------------------------------------------------------------------------


def frobenius_norm(x: Tensor, *, backend: str | None = None) -> Tensor:
    """The Frobenius norm of the matrices x (..., m, n): float64, shaped (...).

    Scaled by the power of two of max |x|, so that no square under- or overflows, and summed in
    float64. backend: None takes the first that can serve; a name takes that one or raises.
    """
    tensors.check_tensor("frobenius_norm", "x", x)
    result: Tensor = _op(x, backend=backend)
    return result


# ---- Schema -------------------------------------------------------------------------------------

SCHEMA = "(Tensor x, *, str? backend=None) -> Tensor"

# ---- Fake ---------------------------------------------------------------------------------------


def _fake(x: Tensor, backend: str | None = None) -> Tensor:
    del backend
    tensors.check_matrices("frobenius_norm", "x", x)
    return torch.empty(x.shape[:-2], dtype=torch.float64, device=x.device)


# ---- Backend order ------------------------------------------------------------------------------

BACKENDS: dict[str, Any] = {"native": native, "eager": eager}


def _kernel(x: Tensor, backend: str | None = None) -> Tensor:
    tensors.check_matrices("frobenius_norm", "x", x)
    if backend is not None and backend not in BACKENDS:
        names = checks.quoted(BACKENDS)
        raise ValueError(f"frobenius_norm: backend must be None, {names}, got {backend!r}")
    out = torch.empty(x.shape[:-2], dtype=torch.float64, device=x.device)
    for name in BACKENDS if backend is None else (backend,):
        if not (reason := BACKENDS[name].supports_frobenius_norm(x)):
            BACKENDS[name].frobenius_norm(x, out)
            return out
    checks.refuse_backend("frobenius_norm", name, reason)


# ---- Gradient -----------------------------------------------------------------------------------


class _FrobeniusNorm(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, backend: str | None) -> Tensor:
        with registry.below_autograd():
            norm: Tensor = _op(x, backend=backend)
        ctx.save_for_backward(x, norm)
        return norm

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        """x / ||x||; 0 at x = 0, the subgradient that torch's own norms give."""
        x, norm = ctx.saved_tensors
        slope = grad / torch.where(norm > 0, norm, 1.0)
        return (slope[..., None, None] * x.to(torch.float64)).to(x.dtype), None


def _autograd(x: Tensor, *, backend: str | None = None) -> Tensor:
    if registry.is_plain(x):
        return _kernel(x, backend)
    if registry.wants_gradient(x):
        tensors.check_matrices("frobenius_norm", "x", x)
        norm: Tensor = _FrobeniusNorm.apply(x, backend)  # type: ignore[no-untyped-call]
        return norm
    with registry.below_autograd():
        out: Tensor = _op(x, backend=backend)
    return out


_op = registry.register("frobenius_norm", SCHEMA, kernel=_kernel, fake=_fake, autograd=_autograd)
