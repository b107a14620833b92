"""How a tensor is read as matrices: the views that `polar_foreach` takes.

A view that the kernels understand is one number, the same as in ortho.h: 0 reads the last two
dimensions as the matrix and the leading ones as a batch; k >= 1 flattens from dimension 1 and cuts
the rows into k equal blocks. Anything else is a callable, applied to tensor and output alike.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

BATCH = 0
FLATTEN = 1


@dataclass(frozen=True)
class Heads:
    """The view that `heads(n)` makes."""

    blocks: int


def heads(n: int) -> Heads:
    """A view: `n` equal blocks of rows, each orthogonalised on its own (attention heads, QKV)."""
    if isinstance(n, bool) or not isinstance(n, int):
        raise TypeError(f"heads: n must be an int, got {type(n).__name__}")
    if n < 1:
        raise ValueError(f"heads: n must be >= 1, got {n}")
    return Heads(n)


CallableView = Callable[[Tensor], "Tensor | Sequence[Tensor]"]
View = str | Heads | CallableView


def resolve_view(op: str, view: Any) -> int | CallableView:
    """The number of a view, or the callable itself."""
    if view == "flatten":
        return FLATTEN
    if view == "batch":
        return BATCH
    if isinstance(view, Heads):
        return view.blocks
    if callable(view):
        return view  # type: ignore[no-any-return]
    raise ValueError(
        f"{op}: view must be 'flatten', 'batch', heads(n), a callable, or one of these per tensor, "
        f"got {view!r}"
    )


def resolve_views(op: str, view: Any, count: int) -> list[int | CallableView]:
    """One resolved view per tensor."""
    if not isinstance(view, (list, tuple)):
        return [resolve_view(op, view)] * count
    if len(view) != count:
        raise ValueError(f"{op}: view must have length {count} like tensors, got {len(view)}")
    return [resolve_view(op, one) for one in view]


def as_matrices(tensor: Tensor, row_blocks: int) -> Tensor:
    """The tensor as (..., m, n), a view of it where its strides allow."""
    if row_blocks == BATCH:
        return tensor
    flat = tensor.flatten(1)
    if row_blocks == FLATTEN:
        return flat
    return flat.reshape(row_blocks, flat.shape[0] // row_blocks, flat.shape[1])


def apply_view(view: CallableView, tensor: Tensor, op: str, name: str) -> list[Tensor]:
    """The matrices that a callable picks out of a tensor."""
    picked = view(tensor)
    views = [picked] if isinstance(picked, Tensor) else list(picked)
    for one in views:
        if not isinstance(one, Tensor):
            raise TypeError(f"{op}: view must return tensors for {name}, got {type(one).__name__}")
    return views


def shares_memory(view: Tensor, tensor: Tensor) -> bool:
    return bool(view.untyped_storage()._cdata == tensor.untyped_storage()._cdata)


def empty_outputs(tensors: Sequence[Tensor]) -> list[Tensor]:
    return [torch.empty_like(tensor) for tensor in tensors]
