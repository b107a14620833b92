"""What a gradient or an update is replaced by: its polar factor, or itself normalised, scaled."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

import ortho_kernels as ok
from ortho_optim.gradients import with_layout
from ortho_optim.scales import Rule
from ortho_optim.views import Transposed, matrix_shape, parts_of

Normalize = Literal["tensor", "row"]


@dataclass(frozen=True)
class Maker:
    """Makes factors: tensors of ours, shaped and laid out as what they replace."""

    polar: dict[str, Any]
    normalize: Normalize | None
    scale: Rule | None

    def __call__(
        self,
        tensors: Sequence[Tensor],
        views: list[Any],
        out: Sequence[Tensor] | None = None,
    ) -> list[Tensor]:
        """`out`: tensors of ours to write over, each may be its own input. Not always used."""
        if views.count("flatten") == len(views):  # the usual case, by the shortest way
            factors = self._factors(tensors, "flatten", out)
        else:
            factors = self._mixed(tensors, views, out)
        if self.scale is not None:
            self._multiply(factors, views, self.scale)
        return factors

    def _mixed(
        self, tensors: Sequence[Tensor], views: list[Any], out: Sequence[Tensor] | None
    ) -> list[Tensor]:
        read, plain = list(tensors), list(views)
        for i, (tensor, view) in enumerate(zip(tensors, views, strict=True)):
            if isinstance(view, Transposed):
                read[i], plain[i] = view.matrices(tensor), "batch"
        if any(isinstance(view, Transposed) or callable(view) for view in views):
            out = None  # in a memory order of its own
        factors = self._factors(read, plain, out)
        for i, (tensor, view) in enumerate(zip(tensors, views, strict=True)):
            if isinstance(view, Transposed):
                factors[i] = view.restore(factors[i], tensor)
            elif callable(view):
                factors[i] = with_layout(factors[i], tensor)
        return factors

    def _factors(
        self, tensors: Sequence[Tensor], view: Any, out: Sequence[Tensor] | None
    ) -> list[Tensor]:
        if self.normalize is None:
            return ok.polar_foreach(tensors, view=view, out=out, **self.polar)
        views = view if isinstance(view, list) else [view] * len(tensors)
        by_row = self.normalize == "row"
        return [_normalized(x, one, by_row) for x, one in zip(tensors, views, strict=True)]

    @staticmethod
    def _multiply(factors: list[Tensor], views: list[Any], rule: Rule) -> None:
        whole, by = [], []
        for factor, view in zip(factors, views, strict=True):
            shape = matrix_shape(view, factor.shape)
            if shape is None:
                for part in parts_of(view, factor):
                    part.mul_(rule(*part.shape[-2:]) if part.numel() else 1.0)
            elif factor.numel():
                whole.append(factor)
                by.append(rule(*shape))
        if whole:
            torch._foreach_mul_(whole, by)


def _normalized(tensor: Tensor, view: Any, by_row: bool) -> Tensor:
    """N- and CN-: every matrix, or every row of it, at Frobenius norm 1; zeros stay zero.

    The thesis's author divides by the norm as it is, which makes NaN of a zero row.
    """
    if view == "flatten":
        return _unit(tensor, tuple(range(1 if by_row else 0, tensor.ndim)))
    if view == "batch":
        return _unit(tensor, (-1,) if by_row else (-2, -1))
    if isinstance(view, ok.Heads):
        blocks = tensor.reshape(view.blocks, -1, *tensor.shape[1:])
        return _unit(blocks, tuple(range(2 if by_row else 1, blocks.ndim))).reshape(tensor.shape)
    factor = tensor.clone()
    for part, source in zip(parts_of(view, factor), parts_of(view, tensor), strict=True):
        part.copy_(_unit(source, (-1,) if by_row else (-2, -1)))
    return factor


def _unit(tensor: Tensor, dims: tuple[int, ...]) -> Tensor:
    """tensor / norm over dims; by the largest entry first, so that no square over- or underflows.

    NaN and Inf make the whole unit NaN, as they do a polar factor.
    """
    if not tensor.numel():
        return torch.empty_like(tensor)
    wide = tensor.float() if tensor.dtype in (torch.float16, torch.bfloat16) else tensor
    peak = wide.abs().amax(dims, keepdim=True)
    wide = wide / torch.where(peak == 0, 1.0, peak)
    norm = torch.linalg.vector_norm(wide, dim=dims, keepdim=True)
    return wide.div_(torch.where(norm == 0, 1.0, norm)).to(tensor.dtype)
