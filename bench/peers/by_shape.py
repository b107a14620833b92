"""Gradients of one shape in one call, as torch users batch them: stacked, for that is no view."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from bench.contender import Piece


def by_shape(factor: Callable[[Tensor], Tensor]) -> Callable[[Sequence[Tensor]], list[Piece]]:
    """``factor`` takes a stack (k, m, n); stacking is part of the timed call."""

    def prepare(gradients: Sequence[Tensor]) -> list[Piece]:
        matrices = [gradient.flatten(1) for gradient in gradients]
        groups: dict[torch.Size, list[int]] = {}
        for index, matrix in enumerate(matrices):
            groups.setdefault(matrix.shape, []).append(index)
        return [_piece(factor, matrices, indices) for indices in groups.values()]

    return prepare


def _piece(
    factor: Callable[[Tensor], Tensor], matrices: Sequence[Tensor], indices: Sequence[int]
) -> Piece:
    group = [matrices[index] for index in indices]
    return Piece(tuple(indices), lambda: factor(torch.stack(group)).unbind())
