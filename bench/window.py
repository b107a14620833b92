"""`python -m bench window`: one pass over the window against the printed algorithm in torch."""

from __future__ import annotations

import statistics
from argparse import ArgumentParser, Namespace
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

import ortho_kernels as ok
from bench.timing import Watch
from ortho_kernels.reference.window_step_ import printed_step_

HELP = "power iteration on a window of gradients against two matrix-vector products"
DESCRIPTION = """\
One step of algorithm 5 on a full window: by `window_step_`, with rows of float32 and of bfloat16,
and as printed, by two matrix-vector products of torch, in either memory layout. All are held
against the printed algorithm in float64 first, then timed in turns, beside reductions of torch that
only read the window once: the fastest of them is what this process gets out of memory.

  python -m bench window
  python -m bench window --numbers 24714 --rows 100 --threads 2 --rounds 30
"""
EPILOG = """\
How to read the table
  ms       least and median of the turns, in processor time over all threads
  ratio    the faster of torch's two / this, by the least
  read     bytes of the window over the least time, as a share of the read bandwidth
"""
RESNET20 = 269_722
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}
ALLOWED = {"float32": 1e-9, "bfloat16": 1e-3, "torch": 1e-4}


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("--numbers", type=int, default=RESNET20, help="parameters: ResNet-20's")
    parser.add_argument("--rows", type=int, default=250, help="gradients in the window")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=15)


class Fused:
    """`window_step_`, kept going on one gradient."""

    def __init__(self, window: Tensor, gradient: Tensor) -> None:
        self.window, self.gradient = window, [gradient]
        rows = len(window)
        wide = window.to(torch.float64)
        self.gram = wide @ wide.T
        self.coefficients = torch.zeros(rows, dtype=torch.float64)
        self.coefficients[0] = self.gram[0, 0].rsqrt()
        self.slot = 0

    def __call__(self) -> float:
        rows = len(self.window)
        out = ok.window_step_(
            self.window, self.gram, self.coefficients, self.gradient, self.slot, rows
        )
        self.slot = (self.slot + 1) % rows
        return float(out[0])


class Printed:
    """v <- S^T (S v) by torch, with rows or with columns that lie together."""

    def __init__(self, window: Tensor, gradient: Tensor, columns: bool) -> None:
        self.window = window.T.contiguous().T if columns else window
        self.gradient, self.slot = gradient, 0
        self.vector = window[0] / window[0].norm()

    def __call__(self) -> float:
        rows = len(self.window)
        self.window[self.slot] = self.gradient
        self.slot = (self.slot + 1) % rows
        w = torch.mv(self.window.T, torch.mv(self.window, self.vector))
        length = w.norm()
        torch.div(w, length, out=self.vector)
        _ = torch.dot(self.gradient, self.vector).abs() / self.gradient.norm()
        return float((length / rows).sqrt())


def reads(window: Tensor) -> dict[str, Callable[[], object]]:
    flat = window.view(-1)
    return {"sum": flat.sum, "max": flat.max, "norm": flat.norm, "dot": lambda: flat.dot(flat)}


def run(arguments: Namespace) -> int:
    torch.set_num_threads(arguments.threads)
    ok.set_num_threads(arguments.threads)
    rng = np.random.default_rng(0)
    window = torch.from_numpy(rng.standard_normal((arguments.rows, arguments.numbers), np.float32))
    window += torch.from_numpy(rng.standard_normal(arguments.numbers, np.float32))
    gradient = torch.from_numpy(rng.standard_normal(arguments.numbers, np.float32))
    ways: dict[str, Callable[[], object]] = {
        "float32": Fused(window.clone(), gradient),
        "bfloat16": Fused(window.to(torch.bfloat16), gradient),
        "torch, rows": Printed(window.clone(), gradient, columns=False),
        "torch, columns": Printed(window.clone(), gradient, columns=True),
    }
    check(ways, window, gradient)
    times = measure(ways | reads(window), arguments.rounds)
    report(times, window)
    return 0


def check(
    ways: dict[str, Callable[[], object]], window: Tensor, gradient: Tensor, steps: int = 3
) -> None:
    """Against the printed algorithm in float64, before anything is timed."""
    held = window.double().numpy().copy()
    vector = held[0] / np.linalg.norm(held[0])
    g, rows = gradient.double().numpy(), len(held)
    for step in range(steps):
        wanted, _ = printed_step_(held, vector, g, step % rows, rows)
        for name, way in ways.items():
            allowed = ALLOWED.get(name, ALLOWED["torch"])
            error = abs(float(way()) / wanted - 1)  # type: ignore[arg-type]
            if not error <= allowed:
                raise SystemExit(f"window: {name} is off by {error:.1e}, allowed {allowed:.0e}")


def measure(ways: dict[str, Callable[[], object]], rounds: int) -> dict[str, list[float]]:
    times: dict[str, list[float]] = {name: [] for name in ways}
    for _ in tqdm(range(rounds), leave=False, unit="turn"):
        for name, way in ways.items():
            watch = Watch()
            way()
            times[name].append(watch.span().cpu)
    return times


def report(times: dict[str, list[float]], window: Tensor) -> None:
    rows, numbers = window.shape
    bandwidth = window.nbytes / min(min(times[name]) for name in reads(window))
    torch_best = min(min(times["torch, rows"]), min(times["torch, columns"]))
    print(f"{rows} x {numbers}, read bandwidth {bandwidth / 1e9:.1f} GB/s")
    print(f"{'':16}{'least ms':>10}{'median ms':>11}{'ratio':>8}{'read':>7}")
    for name, every in times.items():
        if name in reads(window):
            continue
        least = min(every)
        size = window.nbytes // 2 if name == "bfloat16" else window.nbytes
        passes = 2 if name.startswith("torch") else 1
        share = passes * size / least / bandwidth
        middle = statistics.median(every)
        print(
            f"{name:16}{1e3 * least:>10.2f}{1e3 * middle:>11.2f}{torch_best / least:>8.2f}"
            f"{share:>7.0%}"
        )
