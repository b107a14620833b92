"""What a step does to gradients besides orthogonalising them: finite or not, clipped or not."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from operator import attrgetter
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor

if TYPE_CHECKING:
    from ortho_optim.fused import Whole

_layout = attrgetter("layout")


@dataclass
class Replaced:
    """Parameters and what stands in for their gradients, in one order: the weights that the base
    steps on, then others. None: no gradient. `others` keep their own."""

    params: list[Tensor]
    grads: list[Tensor | None]
    others: list[Tensor]
    whole: Whole  # what the fused step takes
    weights: int = field(init=False)  # how many of `params` are weights

    def __post_init__(self) -> None:
        self.weights = len(self.params)

    def stand_in(self, param: Tensor, grad: Tensor | None) -> None:
        """For one of the others' gradients."""
        self.params.append(param)
        self.grads.append(grad)


class Prepared(NamedTuple):
    """What a step exchanges: gradients for the base, updates that are applied after it, and the
    weights on which the fused step does all."""

    params: list[Tensor]
    grads: list[Tensor | None]
    updates: dict[Tensor, Tensor | None]
    whole: Whole


def evaluate(closure: Callable[[], float] | None) -> float | None:
    """What a step's closure returns; it needs the gradients that a step is taken without."""
    if closure is None:
        return None
    with torch.enable_grad():
        return closure()


@contextmanager
def exchanged(params: Sequence[Tensor], grads: Sequence[Tensor | None]) -> Iterator[None]:
    """Parameters with these gradients, and their own again afterwards."""
    raw = [param.grad for param in params]
    try:
        for param, grad in zip(params, grads, strict=True):
            param.grad = grad
        yield
    finally:
        for param, own in zip(params, raw, strict=True):
            param.grad = own


@contextmanager
def without(groups: Sequence[dict[str, Any]], params: Sequence[Tensor]) -> Iterator[None]:
    """Groups without these parameters, and whole again afterwards."""
    left_out = set(map(id, params))
    lists = [group["params"] for group in groups]
    try:
        if left_out:
            for group, everyone in zip(groups, lists, strict=True):
                group["params"] = [param for param in everyone if id(param) not in left_out]
        yield
    finally:
        for group, everyone in zip(groups, lists, strict=True):
            group["params"] = everyone


def grad_of(param: Tensor) -> Tensor:
    assert param.grad is not None
    return param.grad


def as_real(tensor: Tensor) -> Tensor:
    """Complex numbers as pairs, by a view unless they are a lazy conjugate."""
    return torch.view_as_real(tensor.resolve_conj()) if tensor.is_complex() else tensor


def with_layout(factor: Tensor, grad: Tensor) -> Tensor:
    """The factor in its gradient's memory order: torch's fused steps take strides for granted."""
    return factor if factor.stride() == grad.stride() else torch.empty_like(grad).copy_(factor)


def dense(grads: Sequence[Tensor]) -> Sequence[Tensor]:
    """Sparse ones by their values, which is where a NaN would be."""
    if set(map(_layout, grads)) <= {torch.strided}:
        return grads
    return [grad._values() if grad.is_sparse else grad for grad in grads]


def clip(every: Sequence[Replaced], max_norm: float) -> None:
    """Clip what bases are about to see to a global norm, as `clip_grad_norm_` does.

    What stands in is ours to scale in place; the gradients of others belong to the user, so they
    are scaled out of place.
    """
    replaced = [grad for one in every for grad in one.grads if grad is not None]
    grads = [*replaced, *(grad_of(param) for one in every for param in one.others)]
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
    for one in every:
        for param in one.others:
            grad = grad_of(param)
            one.stand_in(param, grad * factor.to(grad.device, grad.dtype))
        one.others = []
