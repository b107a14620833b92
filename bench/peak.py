"""What multiply-adds this machine is seen to do: the fastest torch.matmul of a few square sizes.

Measured and not computed from a data sheet: clocks change, and a shared machine gives less.
"""

from __future__ import annotations

import ctypes
import subprocess
from pathlib import Path
from tempfile import TemporaryDirectory

import torch

from bench.timing import Watch

SIZES = (256, 512, 1024)
SOURCE = Path(__file__).with_name("multiply_add.c")
HOW = f"the fastest torch.matmul among squares of {', '.join(map(str, SIZES))}"


def measure(dtype: torch.dtype, clock: str, repeats: int = 8) -> float:
    """Operations a second, two to a multiply-add."""
    rates = []
    for size in SIZES:
        left = torch.rand(size, size, dtype=dtype)
        product = left @ left
        for _ in range(repeats):
            watch = Watch()
            torch.matmul(left, left, out=product)
            seconds: float = getattr(watch.span(), clock)
            rates.append(2.0 * size**3 / seconds)
    return max(rates)


def multiply_add(dtype: torch.dtype, repeats: int = 8) -> float | None:
    """Operations a second in registers; None without a C compiler that knows this machine."""
    name = f"multiply_add_{str(dtype).removeprefix('torch.')}"
    with TemporaryDirectory() as folder:
        library = Path(folder) / "multiply_add.so"
        flags = ["-O2", "-march=native", "-shared", "-fPIC", "-o", str(library)]
        try:
            subprocess.run(["cc", *flags, str(SOURCE)], check=True, capture_output=True)
        except (OSError, subprocess.CalledProcessError):
            return None
        function = getattr(ctypes.CDLL(str(library)), name)
    function.restype, function.argtypes = ctypes.c_double, [ctypes.c_long, ctypes.c_void_p]
    rates = []
    for _ in range(repeats):
        out = torch.full((1,), 1e-9, dtype=dtype)
        watch = Watch()
        operations = function(2_000_000, out.data_ptr())
        rates.append(operations / watch.span().cpu)
    return max(rates)


def bandwidth(size: int, repeats: int = 8) -> float:
    """Bytes a second that a copy of `size` bytes, half of them read and half written, moves."""
    source = torch.zeros(size // 8, dtype=torch.float32)
    target = torch.zeros_like(source)
    rates = []
    for _ in range(repeats):
        watch = Watch()
        target.copy_(source)
        rates.append(size / watch.span().cpu)
    return max(rates)


def least_operations(matrices: list[tuple[int, int]]) -> float:
    """X X^T, half of it for symmetry, and one product with X: no Gram method takes fewer."""
    return sum(3.0 * min(shape) ** 2 * max(shape) for shape in matrices)
