"""How an op enters torch's dispatcher, and what every op's file shares.

`torch.library.Library` rather than `custom_op`: the decorator's layers cost more than a whole call
on a small matrix does here.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import chain
from operator import attrgetter
from typing import Any

import torch
from torch import Tensor
from torch.autograd import forward_ad

NAMESPACE = "ortho_kernels"
LIBRARY = torch.library.Library(NAMESPACE, "DEF")  # type: ignore[no-untyped-call]

below_autograd = torch._C._AutoDispatchBelowAutograd
_modes = torch._C._len_torch_dispatch_stack
_ORDINARY = {Tensor, torch.nn.Parameter}
_is_cpu = attrgetter("is_cpu")
_function_modes = torch._C._is_torch_function_mode_enabled
_profiler = torch._C._autograd._profiler_enabled
_transforms = torch._C._functorch.peek_interpreter_stack


def is_plain(x: Tensor) -> bool:
    """Whether no gradient is wanted and nothing waits below autograd: no subclass, tracing,
    transform or lazy sign.

    Then an autograd kernel may run the op at once; a second trip through the dispatcher would cost
    as much as the rest of a small call. One function, because each call of one counts here.
    """
    return (
        type(x) is Tensor
        and not (x.requires_grad or x.is_neg() or _modes())
        and forward_ad._current_level < 0
        and _transforms() is None
    )


def nobody_waits(*lists: Sequence[Tensor]) -> bool:
    """The same of an op on CPU tensors that no gradient passes through, parameters among them, and
    that nobody traces, records or overrides: its kernel may be called at once."""
    every = list(chain.from_iterable(lists))
    return nobody_watches(every) and all(map(_is_cpu, every)) and not any(map(Tensor.is_neg, every))


def nobody_watches(tensors: Sequence[Tensor]) -> bool:
    """Whether what is done with these tensors is traced, recorded or overridden by nobody."""
    return (
        not torch.compiler.is_compiling()
        and not (_modes() or _function_modes() or _profiler())
        and forward_ad._current_level < 0
        and _transforms() is None
        and set(map(type, tensors)) <= _ORDINARY
    )


def wants_gradient(x: Tensor) -> bool:
    """In reverse mode, or in forward mode, where the autograd functions refuse in words."""
    return (x.requires_grad and torch.is_grad_enabled()) or forward_ad._current_level >= 0


def register(
    name: str,
    schema: str,
    *,
    kernel: Callable[..., Any],
    fake: Callable[..., Any],
    autograd: Callable[..., Any],
) -> Callable[..., Any]:
    """Defines `torch.ops.ortho_kernels.<name>`."""
    library: Any = LIBRARY  # torch leaves its methods untyped
    library.define(f"{name}{schema}", tags=(torch.Tag.pt2_compliant_tag,))
    library.impl(name, kernel, "CompositeExplicitAutograd")
    torch.library.register_fake(f"{NAMESPACE}::{name}", fake, lib=library)
    library.impl(name, autograd, "Autograd")
    op: Callable[..., Any] = getattr(getattr(torch.ops, NAMESPACE), name).default
    return op
