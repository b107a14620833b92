"""The Frobenius norms, on a CPU and on CUDA."""

from __future__ import annotations

from functools import lru_cache

from torch import Tensor

from ortho_kernels.backends.native.loading import module, reason


def supports_frobenius_norm(x: Tensor) -> str:
    if module is None:
        return reason
    if x.is_cpu:
        return ""
    if not x.is_cuda:
        return f"its kernels run on cpu and cuda, got a tensor on {x.device}"
    return "" if _cuda_archs() else "it was built without CUDA"


@lru_cache(maxsize=1)
def _cuda_archs() -> str:
    return module.cuda_archs()


def frobenius_norm(x: Tensor, out: Tensor) -> None:
    module.frobenius_norm(x, out)
