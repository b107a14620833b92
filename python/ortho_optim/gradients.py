"""What a step does to gradients besides orthogonalising them: finite or not, clipped or not."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import torch
from torch import Tensor


def grad_of(param: Tensor) -> Tensor:
    assert param.grad is not None
    return param.grad


def _dense(grad: Tensor) -> Tensor:
    return grad._values() if grad.is_sparse else grad


def with_layout(factor: Tensor, grad: Tensor) -> Tensor:
    """The factor in its gradient's memory order: torch's fused steps take strides for granted."""
    return factor if factor.stride() == grad.stride() else torch.empty_like(grad).copy_(factor)


def all_finite(polar: Sequence[Tensor], raw: Sequence[Tensor]) -> bool:
    """A screen of a few kernel calls: True is certain, False asks for a closer look.

    A matrix with a non-finite entry has a polar factor that is all NaN, so its maximum tells. A raw
    gradient needs a norm, which may also overflow.
    """
    found = [*torch._foreach_max(kept)] if (kept := [o for o in polar if o.numel()]) else []
    found += torch._foreach_norm(kept) if (kept := [_dense(g) for g in raw if g.numel()]) else ()
    return all(math.isfinite(s) for s in _sums(found))


def _sums(scalars: Iterable[Tensor]) -> list[float]:
    by_device: dict[torch.device, list[Tensor]] = {}
    for scalar in scalars:
        by_device.setdefault(scalar.device, []).append(scalar)
    return [float(torch.stack(group).sum()) for group in by_device.values()]


def is_finite(grad: Tensor) -> bool:
    return bool(torch.isfinite(_dense(grad)).all())


def clip(new: dict[Tensor, Tensor | None], others: Sequence[Tensor], max_norm: float) -> None:
    """Clip what the base is about to see to a global norm, as `clip_grad_norm_` does.

    `new` maps parameters to replacements, which are ours to scale in place; the gradients of
    `others` that it does not replace belong to the user, so they are scaled out of place.
    """
    replaced = [grad for grad in new.values() if grad is not None]
    kept = [param for param in others if param not in new]
    grads = [*replaced, *map(grad_of, kept)]
    for grad in grads:
        if grad.layout is not torch.strided:
            raise TypeError(
                "orthogonalize: clip='orthogonalized' must have dense gradients only, got "
                f"{grad.layout}"
            )
    norm = torch.nn.utils.get_total_norm(grads)
    factor = (max_norm / (norm + 1e-6)).clamp(max=1.0)
    for grad in replaced:
        grad.mul_(factor.to(grad.device))
    for param in kept:
        grad = grad_of(param)
        new[param] = grad * factor.to(grad.device, grad.dtype)
