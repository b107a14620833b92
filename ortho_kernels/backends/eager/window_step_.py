"""Power iteration on the window of gradients, in float64, without waiting for the device."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ortho_kernels.backends.eager.serves import dense_only

_CHUNK = 1 << 22  # numbers of the window that are float64 at a time


def supports_window_step_(window: Tensor, gradients: Sequence[Tensor]) -> str:
    return next(filter(None, map(dense_only, (window, *gradients))), "")


def window_step_(
    window: Tensor,
    gram: Tensor,
    coefficients: Tensor,
    gradients: Sequence[Tensor],
    slot: int,
    filled: int,
    sigma: float,
    out: Tensor,
) -> None:
    flat = [g.reshape(-1).to(window.dtype) for g in gradients]
    g = torch.cat(flat) if flat else window.new_zeros(0)
    x = _times(window[:filled], g)
    squared = g.to(torch.float64).square().sum()
    good = torch.isfinite(squared)
    c, k = coefficients[:filled], gram[:filled, :filled]
    b = k @ c
    # A row that was never filled holds anything, and its coefficient is 0.
    b[slot] = torch.where(c != 0, x * c, 0.0).sum()
    x[slot] = squared
    k_new = k.clone()
    k_new[slot], k_new[:, slot] = x, x
    u = k_new @ b
    q = b @ u
    restart = (q <= 0) & (squared > 0)  # nothing is left of v: start again from g / ||g||
    b = torch.where(restart, x / torch.where(squared > 0, squared, 1.0).sqrt(), b)
    u = k_new @ b
    q = (b @ u).clamp_min(0.0)
    length = torch.where(q > 0, q, 1.0).sqrt()
    moved = torch.where(q > 0, b / length, 0.0)
    parallel = (q > 0) & (squared > 0)
    norm = torch.where(squared > 0, squared, 1.0).sqrt()
    cosine = torch.where(parallel, u[slot].abs() / (length * norm), 0.0)
    eigenvalue = (q.sqrt() / filled).sqrt() / sigma
    out.copy_(torch.where(good, torch.stack([eigenvalue, cosine]), torch.nan))
    c.copy_(torch.where(good, moved, c))
    k.copy_(torch.where(good, k_new, k))
    window[slot] = torch.where(good, g, window[slot])


def _times(rows: Tensor, g: Tensor) -> Tensor:
    """rows @ g in float64, a few columns at a time."""
    columns = max(1, _CHUNK // len(rows))
    x = torch.zeros(len(rows), dtype=torch.float64, device=rows.device)
    for begin in range(0, len(g), columns):
        some = slice(begin, begin + columns)
        x += rows[:, some].to(torch.float64) @ g[some].to(torch.float64)
    return x
