"""How many CPU threads the ops may use. The bits of a result do not depend on it."""

from __future__ import annotations

import torch

from ortho_kernels.backends import native


def set_num_threads(n: int) -> None:
    """Lets the CPU kernels use up to `n` threads; without them, sets torch's own number."""
    if isinstance(n, bool) or not isinstance(n, int):
        raise TypeError(f"set_num_threads: n must be an int, got {type(n).__name__}")
    if n < 1:
        raise ValueError(f"set_num_threads: n must be >= 1, got {n}")
    if native.module is not None:
        native.module.set_num_threads(n)
    else:
        torch.set_num_threads(n)


def get_num_threads() -> int:
    """The number of threads that the CPU kernels may use."""
    if native.module is not None:
        return native.module.get_num_threads()
    return torch.get_num_threads()
