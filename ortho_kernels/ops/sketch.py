"""The op `sketch`: the count-sketch of a list of tensors, taken as one vector, in one read."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor

from ortho_kernels import checks
from ortho_kernels.backends import eager, native
from ortho_kernels.ops import registry
from ortho_kernels.tensors import check_elements, check_tensors

NAME = "sketch"
LARGEST_DIM = 2**24

# ---- Public function ----------------------------------------------------------------------------


def sketch(tensors: Iterable[Tensor], dim: int, *, seed: int, backend: str | None = None) -> Tensor:
    """The count-sketch of all tensors one after the other: `dim` float32 numbers.

    Linear in the tensors. Sketches of one `dim` and `seed` keep inner products, with standard
    deviation sqrt((1 + cos^2) / dim) |x| |y| over seeds, and norms to 1 / sqrt(2 dim).

    tensors: any shapes, floating dtypes and strides, on one device; read once, not concatenated.
    seed: an integer of 64 bits. The same values, `dim` and `seed` give the same bits on a CPU,
        whatever the backend, the threads and the strides.
    """
    tensors = list(tensors)
    check_tensors(NAME, "tensors", tensors)
    if registry.nobody_waits(tensors):
        _refuse_gradient(tensors)
        return _kernel(tensors, dim, seed, backend=backend)
    result: Tensor = _op(tensors, dim, seed, backend=backend)
    return result


# ---- Schema -------------------------------------------------------------------------------------

SCHEMA = "(Tensor[] tensors, int dim, int seed, *, str? backend=None) -> Tensor"

# ---- Fake ---------------------------------------------------------------------------------------


def _out(xs: Sequence[Tensor], dim: int) -> Tensor:
    if not 1 <= dim <= LARGEST_DIM:
        raise ValueError(f"{NAME}: dim must be from 1 to {LARGEST_DIM}, got {dim}")
    check_elements(NAME, "tensors", xs)
    return torch.empty(dim, dtype=torch.float32, device=xs[0].device if xs else None)


def _fake(xs: Sequence[Tensor], dim: int, seed: int, *, backend: str | None = None) -> Tensor:
    del seed, backend
    return _out(xs, dim)


# ---- Backend order ------------------------------------------------------------------------------

BACKENDS: dict[str, Any] = {"native": native, "eager": eager}


def _kernel(xs: Sequence[Tensor], dim: int, seed: int, *, backend: str | None = None) -> Tensor:
    out = _out(xs, dim)
    if backend is not None and backend not in BACKENDS:
        names = checks.quoted(BACKENDS)
        raise ValueError(f"{NAME}: backend must be None, {names}, got {backend!r}")
    for name in BACKENDS if backend is None else (backend,):
        if not (reason := BACKENDS[name].supports_sketch(xs)):
            BACKENDS[name].sketch(xs, seed, out)
            return out
    checks.refuse_backend(NAME, name, reason)


# ---- Gradient -----------------------------------------------------------------------------------


def _refuse_gradient(xs: Sequence[Tensor]) -> None:
    for i, x in enumerate(xs):
        if registry.wants_gradient(x):
            raise RuntimeError(
                f"{NAME}: tensors[{i}] must not meet automatic differentiation, got a tensor that "
                "requires grad; use torch.no_grad()"
            )


def _autograd(xs: Sequence[Tensor], dim: int, seed: int, *, backend: str | None = None) -> Tensor:
    _refuse_gradient(xs)
    with registry.below_autograd():
        out: Tensor = _op(xs, dim, seed, backend=backend)
    return out


_op = registry.register(NAME, SCHEMA, kernel=_kernel, fake=_fake, autograd=_autograd)
