"""How one parameter is read as matrices: the views of `polar_foreach`, and one more."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import torch
from torch import Tensor

import ortho_kernels as ok

# One view for all parameters, or a mapping from names and predicates to views.
Views: TypeAlias = "Any | Mapping[Any, Any]"


@dataclass(frozen=True)
class Transposed:
    """The view that `transposed` makes."""

    groups: int

    def matrices(self, grad: Tensor) -> Tensor:
        """(in, out / groups, ...) as (groups, out / groups, in / groups * ...): a copy."""
        parts = grad.reshape(self.groups, -1, *grad.shape[1:]).transpose(1, 2)
        return parts.reshape(*parts.shape[:2], -1)

    def restore(self, matrices: Tensor, grad: Tensor) -> Tensor:
        """The matrices in the shape and the memory order of the gradient they came from."""
        groups, rows, _ = matrices.shape
        parts = matrices.reshape(groups, rows, -1, *grad.shape[2:]).transpose(1, 2)
        return torch.empty_like(grad).copy_(parts.reshape(grad.shape))


def transposed(groups: int = 1) -> Transposed:
    """The view for a transposed convolution's weight, which is stored input channels first.

    Its rows become the output channels, as in other convolutions; each group is a matrix.
    """
    if isinstance(groups, bool) or not isinstance(groups, int) or groups < 1:
        raise ValueError(f"transposed: groups must be an int >= 1, got {groups!r}")
    return Transposed(groups)


def check_view(view: Any) -> None:
    """Told where an optimiser is made, and not at the first step."""
    if view in ("flatten", "batch") or isinstance(view, (ok.Heads, Transposed)) or callable(view):
        return
    raise ValueError(
        "orthogonalize: view must be 'flatten', 'batch', heads(n), transposed(groups), a callable, "
        f"or a mapping from names to these, got {view!r}"
    )


def check_fits(name: str, view: Any, param: Tensor) -> None:
    blocks = getattr(view, "blocks", getattr(view, "groups", 1))
    if isinstance(view, (ok.Heads, Transposed)) and param.shape[0] % blocks:
        raise ValueError(
            f"orthogonalize: {name} must have a first dimension divisible by the {blocks} blocks "
            f"of its view, got shape {tuple(param.shape)}"
        )


def matrix_shape(view: Any, shape: torch.Size) -> tuple[int, int] | None:
    """Rows and columns of the matrices that a view reads; None if only the view knows."""
    if view == "batch":
        return shape[-2], shape[-1]
    if isinstance(view, Transposed):
        return shape[1], shape[0] // view.groups * shape[2:].numel()
    if view == "flatten" or isinstance(view, ok.Heads):
        blocks = view.blocks if isinstance(view, ok.Heads) else 1
        return shape[0] // blocks, shape[1:].numel()
    return None


def parts_of(view: Any, tensor: Tensor) -> Sequence[Tensor]:
    """What a callable view picks."""
    picked = view(tensor)
    return [picked] if isinstance(picked, Tensor) else list(picked)
