"""What this installation is made of, in words."""

from __future__ import annotations

import platform

import torch

from ortho_kernels.backends import native
from ortho_kernels.threads import get_num_threads

__version__ = "0.1.0"


def build_info() -> dict[str, str]:
    """Backends, instruction set, CUDA targets and versions, each as a line of text.

    `native` is "yes" or the reason why the native module does not run; `isa` names the CPU kernels
    that run ("avx512_bf16", "avx512", "avx2", "baseline", "reference"; "none" without the native
    module); `cuda_archs` lists what the CUDA kernels were compiled for.
    """
    module = native.module
    return {
        "version": __version__,
        "native": "yes" if module is not None else native.reason,
        "backends": "native, eager" if module is not None else "eager",
        "isa": module.isa() if module is not None else "none",
        "cuda_archs": (module.cuda_archs() if module is not None else "") or "none",
        "threads": str(get_num_threads()),
        "torch": str(torch.__version__),
        "python": platform.python_version(),
        "machine": f"{platform.system()} {platform.machine()}",
    }
