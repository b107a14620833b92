"""The op `all_finite`: whether a whole model's tensors hold no NaN and no Inf, in one call."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor

from ortho_kernels import checks, tensors
from ortho_kernels.backends import eager, native
from ortho_kernels.ops import registry

NAME = "all_finite"
DTYPES = (*sorted(tensors.DTYPES, key=str), torch.complex64, torch.complex128)

# ---- Public function ----------------------------------------------------------------------------


def all_finite(tensors_: Iterable[Tensor], /, *, backend: str | None = None) -> Tensor:
    """Whether no number of any of the tensors is NaN or Inf: a bool of shape ().

    Any shapes, the floating dtypes and complex64 and complex128; dense. Exact: no square is formed
    that could overflow. On the device of the first tensor (an empty list: the CPU), where nothing
    waits for it until it is asked for its value. backend: None takes the first that can serve all
    of them; a name takes that one or raises.
    """
    every = list(tensors_)
    if backend is None and registry.nobody_watches(every):
        at_once = native.all_finite_at_once(every)
        if at_once is not None:
            return at_once
    tensors.check_tensors(NAME, "tensors", every)
    result: Tensor = _op(every, backend=backend)
    return result


# ---- Schema -------------------------------------------------------------------------------------

SCHEMA = "(Tensor[] tensors, *, str? backend=None) -> Tensor"

# ---- Fake ---------------------------------------------------------------------------------------


def _check(every: Sequence[Tensor]) -> None:
    for i, x in enumerate(every):
        if x.dtype not in DTYPES:
            raise TypeError(
                f"{NAME}: tensors[{i}] must be float16, bfloat16, float32, float64, complex64 or "
                f"complex128, got {tensors.words(x.dtype)}"
            )


def _fake(every: Sequence[Tensor], backend: str | None = None) -> Tensor:
    del backend
    _check(every)
    tensors.check_all_on_meta(NAME, every)
    return torch.empty((), dtype=torch.bool, device=every[0].device if every else "cpu")


# ---- Backend order ------------------------------------------------------------------------------

BACKENDS: dict[str, Any] = {"native": native, "eager": eager}


def _kernel(every: Sequence[Tensor], backend: str | None = None) -> Tensor:
    _check(every)
    if backend is not None and backend not in BACKENDS:
        names = checks.quoted(BACKENDS)
        raise ValueError(f"{NAME}: backend must be None, {names}, got {backend!r}")
    for name in BACKENDS if backend is None else (backend,):
        reason = next(filter(None, map(BACKENDS[name].supports_all_finite, every)), "")
        if not reason:
            out: Tensor = BACKENDS[name].all_finite(every)
            return out
    checks.refuse_backend(NAME, name, reason)


# ---- Gradient: none, a bool has none -------------------------------------------------------------


def _autograd(every: Sequence[Tensor], *, backend: str | None = None) -> Tensor:
    with registry.below_autograd():
        out: Tensor = _op(every, backend=backend)
    return out


_op = registry.register(NAME, SCHEMA, kernel=_kernel, fake=_fake, autograd=_autograd)
