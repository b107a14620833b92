"""What a step does to gradients besides orthogonalising them: finite or not, clipped or not."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from operator import attrgetter
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor
from torch.utils._foreach_utils import _group_tensors_by_device_and_dtype

if TYPE_CHECKING:
    from ortho_optim.fused import Whole

_dtype, _is_cpu, _is_sparse = map(attrgetter, ("dtype", "is_cpu", "is_sparse"))
_SMALL = 2**12  # entries: copying so few costs less than a kernel call of their own


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


def _dense(grad: Tensor) -> Tensor:
    """Its entries, all real: the screen's kernels know no others."""
    return as_real(grad._values() if grad.is_sparse else grad)


def with_layout(factor: Tensor, grad: Tensor) -> Tensor:
    """The factor in its gradient's memory order: torch's fused steps take strides for granted."""
    return factor if factor.stride() == grad.stride() else torch.empty_like(grad).copy_(factor)


def all_finite(factors: Sequence[Tensor], grads: Sequence[Tensor]) -> bool:
    """A screen of a few kernel calls: True is certain, False asks for a closer look.

    GradScaler's check is one call for all, but multiplies in place (here by 1), so it gets only
    what is ours to write to: polar factors, and a copy of the many small gradients of biases and
    norms. A large gradient is read, by its norm, which may also overflow.
    """
    plain = not any(map(Tensor.is_complex, grads)) and not any(map(_is_sparse, grads))
    dense = list(grads) if plain else [_dense(grad) for grad in grads]
    sizes = list(map(Tensor.numel, dense))
    small = dense if not sizes or max(sizes) <= _SMALL else _smaller(dense)
    ours = [*factors, *(copy for kind in _by_kind(small) for copy in _copied(kind))]
    for kind in _by_kind(ours):
        device = kind[0].device
        found, one = torch.zeros((), device=device), torch.ones((), device=device)
        torch._amp_foreach_non_finite_check_and_unscale_(kind, found, one)
        if found:
            return False
    if len(small) == len(dense):
        return True
    return all(map(math.isfinite, torch._foreach_norm([g for g in dense if g.numel() > _SMALL])))


def _smaller(grads: list[Tensor]) -> list[Tensor]:
    return [grad for grad in grads if grad.numel() <= _SMALL]


def _copied(tensors: list[Tensor]) -> list[Tensor]:
    """All their entries, in a vector or two: biases and norms are vectors as they are."""
    dims = list(map(Tensor.dim, tensors))
    vectors = [one for one, dim in zip(tensors, dims, strict=True) if dim == 1]
    rest = [one for one, dim in zip(tensors, dims, strict=True) if dim != 1]
    copies: list[Tensor] = [torch.cat(vectors)] if vectors else []
    if rest:
        flat: Tensor = torch._C._nn.flatten_dense_tensors(rest)
        copies.append(flat if len(rest) > 1 else flat.clone())  # of one it is a view
    return copies


def _by_kind(tensors: list[Tensor]) -> Iterator[list[Tensor]]:
    """Lists of one device and dtype; by what torch's own optimisers group with, a loop in C++."""
    if len(set(map(_dtype, tensors))) == 1 and all(map(_is_cpu, tensors)):
        yield tensors  # the usual case here
    elif tensors:
        for (kind, *_), _ in _group_tensors_by_device_and_dtype([tensors]).values():  # type: ignore[list-item]
            yield kind  # type: ignore[misc]


def is_finite(grad: Tensor) -> bool:
    return bool(torch.isfinite(_dense(grad)).all())


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
