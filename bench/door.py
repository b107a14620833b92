"""What a call costs before any arithmetic: `python bench/door.py`.

Tiny arrays through the native door and through the torch op. The 0 x 0 rows hold no matrix, so
they are the cost of the road itself; the 1 x 1 rows add a number to take, check and give back, the
4 x 4 rows the smallest kernel. The last column is the limit that a road is held to, with `--check`
as an error.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import timeit
from collections.abc import Callable

import numpy as np
import torch

import ortho_kernels as ok
from ortho_kernels import _native

DOOR_LIMIT_US = 1.0
OP_LIMIT_US = 6.0
EXACT = _native.PolarOptions("exact")
Make = Callable[[np.ndarray], object]


def door(make: Make, x: np.ndarray) -> Callable[[], object]:
    source, out = make(x), make(np.zeros_like(x))
    _native.polar(EXACT, source, out)  # type: ignore[arg-type]
    check(x, np.asarray(out))
    return lambda: _native.polar(EXACT, source, out)  # type: ignore[arg-type]


def op(call: Callable[[torch.Tensor], torch.Tensor], x: np.ndarray) -> Callable[[], object]:
    source = torch.from_numpy(x)
    check(x, call(source).numpy())
    return lambda: call(source)


def check(x: np.ndarray, polar: np.ndarray) -> None:
    u, _, vt = np.linalg.svd(x.astype(np.float64), full_matrices=False)
    np.testing.assert_allclose(polar, u @ vt, atol=1e-5)


def microseconds(call: Callable[[], object]) -> tuple[float, float]:
    """The median and the least of many rounds, each too short to be interrupted as a rule; the
    loop's own cost is taken off."""
    calls, rounds = 200, 1_000
    empty = min(timeit.repeat(lambda: None, number=calls, repeat=rounds))
    times = timeit.repeat(call, number=calls, repeat=rounds)
    return (
        1e6 * (statistics.median(times) - empty) / calls,
        1e6 * (min(times) - empty) / calls,
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="exit 1 if a road is over its limit")
    arguments = parser.parse_args()

    arrays = {size: np.random.default_rng(0).normal(size=(size, size)) for size in (0, 1, 4)}
    roads: list[tuple[str, Callable[[np.ndarray], Callable[[], object]], float | None]] = [
        ("_native.polar, numpy arrays", lambda x: door(np.array, x), DOOR_LIMIT_US),
        ("_native.polar, torch tensors", lambda x: door(torch.tensor, x), DOOR_LIMIT_US),
        (
            "torch.ops.ortho_kernels.polar",
            lambda x: op(torch.ops.ortho_kernels.polar, x),
            OP_LIMIT_US,
        ),
        ("ortho_kernels.polar", lambda x: op(ok.polar, x), None),
    ]
    over = False
    print(f"{'microseconds per call, float32':34}{'size':>6}{'median':>9}{'least':>9}{'limit':>9}")
    for name, road, limit in roads:
        for size, x in arrays.items():
            median, least = microseconds(road(x.astype(np.float32)))
            # The limit is on the road, for a kernel's own time is the kernel's business; and on the
            # least, for other work on the machine can only add.
            limited = limit is not None and size <= 1
            over |= limited and least > (limit or 0)
            shown = f"{limit:9.1f}" if limited else ""
            print(f"{name:34}{f'{size}x{size}':>6}{median:9.2f}{least:9.2f}{shown}")
    return int(over and arguments.check)


if __name__ == "__main__":
    sys.exit(main())
