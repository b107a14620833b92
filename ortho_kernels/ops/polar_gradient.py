"""The gradient of the exact polar factor, and the words where there is none.

With x = U S V^T of full rank, m <= n, and O = U V^T, a change dx of x changes O by

    dO = U [ (U^T dx V - (U^T dx V)^T) / (s_i + s_j) ] V^T  +  U S^-1 U^T dx (I - V V^T),

which solves P W + W P = dx O^T - O dx^T for the symmetric factor P = U S U^T in its eigenbasis.
The first map is self-adjoint between those bases, and so is the second, so the gradient is

    U [ (B - B^T) / (s_i + s_j) ] V^T  +  U S^-1 U^T G (I - V V^T),    B = U^T G V.

Where singular values vanish O jumps and has no gradient: there it is NaN, never a wrong number.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

from ortho_kernels.backends.eager.scales import power_of_two_scale
from ortho_kernels.checks import quoted
from ortho_kernels.options import EXACT_METHODS, PolarOptions


def vjp(x: Tensor, grad: Tensor, rtol: float) -> Tensor:
    """The gradient with respect to x of <grad, polar(x)>, for (..., m, n), in the dtype of x."""
    if x.numel() == 0:
        return torch.zeros_like(x)
    tall = x.shape[-2] > x.shape[-1]
    wide = (x.mT if tall else x).to(torch.float64)
    g = (grad.mT if tall else grad).to(torch.float64)
    finite = torch.isfinite(wide).all(-1, keepdim=True).all(-2, keepdim=True)
    first, second = power_of_two_scale(wide)
    u, s, vh = torch.linalg.svd(
        torch.where(finite, wide * first * second, 0.0), full_matrices=False
    )
    full_rank = (s[..., -1:] > rtol * s[..., :1]).unsqueeze(-1) & finite
    s = torch.where(full_rank.squeeze(-1), s, 1.0)

    b = u.mT @ g @ vh.mT
    turned = u @ ((b - b.mT) / (s.unsqueeze(-1) + s.unsqueeze(-2))) @ vh
    outside = (u / s.unsqueeze(-2)) @ (u.mT @ g - b @ vh)
    result = torch.where(full_rank, (turned + outside) * first * second, torch.nan)
    return (result.mT if tall else result).to(x.dtype)


def check_differentiable(op: str, options: PolarOptions) -> None:
    if options.asked not in EXACT_METHODS:
        raise RuntimeError(
            f"{op}: method must be {quoted(EXACT_METHODS)} where a gradient is asked for, "
            f"got {options.asked!r}; use one of these, torch.no_grad() or x.detach()"
        )


def refuse_out(op: str, tensors: Iterable[Tensor]) -> None:
    if torch.is_grad_enabled() and any(tensor.requires_grad for tensor in tensors):
        raise RuntimeError(
            f"{op}: out must not meet automatic differentiation, got a tensor that requires grad; "
            "use torch.no_grad() or x.detach()"
        )


def refuse_view(op: str, tensor: Tensor) -> None:
    if torch.is_grad_enabled() and tensor.requires_grad:
        raise RuntimeError(
            f"{op}: a callable view is not differentiable, got a tensor that requires grad; "
            "use torch.no_grad() or x.detach()"
        )


def mark_written(outs: Sequence[Tensor]) -> None:
    """Tells autograd that these were written in place, so that a graph which saved one notices."""
    torch.autograd.graph.increment_version(outs)
