"""A process in which every library uses the threads that were asked for, no more and no fewer."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping

# A forced core type costs OpenBLAS 25 to 45 % where it is not the machine's own.
FORCED = ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE")
COUNTS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "PJRT_NPROC")


def pinned(environment: Mapping[str, str], threads: int) -> dict[str, str]:
    """The environment that libraries must find when they are loaded."""
    wanted = {name: value for name, value in environment.items() if name not in FORCED}
    wanted |= dict.fromkeys(COUNTS, str(threads))
    if threads == 1:
        flag = "--xla_cpu_multi_thread_eigen=false"
        flags = wanted.get("XLA_FLAGS", "").split()
        wanted["XLA_FLAGS"] = " ".join(flags if flag in flags else [*flags, flag])
    wanted["JAX_PLATFORMS"] = "cpu"
    return wanted


def pin(threads: int) -> None:
    """Starts this command anew where its environment is another: most libraries read it once."""
    wanted = pinned(os.environ, threads)
    if wanted != dict(os.environ):
        sys.stdout.flush()
        os.execve(sys.executable, sys.orig_argv, wanted)
