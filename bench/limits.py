"""`python -m bench limits`: how close `exact` is to what this machine allows."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from math import prod

import numpy as np
from numpy.typing import NDArray

from bench import operations, process, shapes

HELP = "how close `exact` is to what this machine allows, and what that allows over the SVD"
DESCRIPTION = """\
Counts the operations of `exact` for a model whose gradients have a planted spectrum, measures what
this machine does, times `exact` and torch.linalg.svd, one thread, processor time, and compares.

  python -m bench limits
  python -m bench limits --model resnet20 --rounds 20
"""
EPILOG = """\
How to read the table
  float64, float32   operations, two to a multiply-add, in units of 1e9 (bench/operations.py)
  MB                 X read three times and O written once: what must come from memory, at the most,
                     where caches hold the rest
  at peak            the operations at the rate of multiply-adds in registers (without a C compiler,
                     of the fastest torch.matmul), or the bytes at the bandwidth of a large copy,
                     whichever takes longer: no faster with these algorithms
  ms measured        the quickest of the rounds, as the peaks are, for the machine may be shared
  of peak            at peak in percent of measured
  over the SVD       torch.linalg.svd divided by `exact`: measured, and at the peak
"""
MODELS = ("resnet20", "resnet18", "gpt2-block")
SPECTRA = ("1e4", "null")
COPY_BYTES = 1 << 28  # far more than any cache


def add_arguments(parser: ArgumentParser) -> None:
    add = parser.add_argument
    add("--model", action="append", choices=shapes.MODELS, metavar="NAME", help="may be repeated")
    add("--spectrum", action="append", choices=SPECTRA, help="may be repeated (default: both)")
    add("--rounds", type=int, default=5, metavar="N", help="turns of both (default: 5)")


def sigma(spectrum: str, count: int) -> NDArray[np.float64]:
    """As bench.gradients plants them."""
    from ortho_kernels.reference import spectra

    if spectrum == "null":
        return spectra.with_one_null(count)
    return spectra.geometric(count, float(spectrum))


def count(model: str, spectrum: str) -> operations.Operations:
    return sum(
        (operations.exact(*shape, sigma(spectrum, min(shape))) for shape in shapes.matrices(model)),
        operations.Operations(),
    )


def moved(model: str) -> int:
    """Bytes."""
    return sum(4 * 4 * prod(shape) for shape in shapes.matrices(model))


def run(arguments: Namespace) -> int:
    process.pin(1)
    print(table(arguments.model or MODELS, arguments.spectrum or SPECTRA, arguments.rounds))
    return 0


def table(models: Sequence[str], spectra: Sequence[str], rounds: int) -> str:
    """Loads the libraries, which read the number of threads once."""
    import torch

    import ortho_kernels as ok
    from bench import gradients, methods, peak, timing
    from bench.peers import torch_svd

    torch.set_num_threads(1)
    ok.set_num_threads(1)
    dtypes = (torch.float64, torch.float32)
    matmul = [peak.measure(dtype, "cpu") for dtype in dtypes]
    fused = [peak.multiply_add(dtype) for dtype in dtypes]
    rate64, rate32 = (one or other for one, other in zip(fused, matmul, strict=True))
    bandwidth = peak.bandwidth(COPY_BYTES)
    lines = [
        f"GFLOP/s in float64 and float32: {_rates(fused)} by multiply-adds in registers, "
        f"{_rates(matmul)} by torch.matmul; copy of {COPY_BYTES >> 20} MB: "
        f"{bandwidth / 1e9:.1f} GB/s; kernels: {ok.build_info()['isa']}",
        "",
        "| model | spectrum | float64 | float32 | MB | ms at peak | ms measured | of peak "
        "| over the SVD | at peak |",
        "|---|---|" + "---:|" * 8,
    ]
    everyone = (*methods.contenders(), *torch_svd.contenders())
    ways = [one for one in everyone if one.name in ("ok exact", "torch.linalg.svd")]
    for model in models:
        for spectrum in spectra:
            there = gradients.by_name(spectrum, shapes.weights(model))
            pieces = {one.name: one.prepare(there) for one in ways}
            spans = timing.in_turns(pieces, rounds, lambda: None)
            exact, svd = (1e3 * min(span.cpu for span in spans[one.name]) for one in ways)
            work = count(model, spectrum)
            least = 1e3 * max(work.seconds(rate64, rate32), moved(model) / bandwidth)
            lines.append(
                f"| {model} | {spectrum} | {work.float64 / 1e9:.3g} | {work.float32 / 1e9:.3g} "
                f"| {moved(model) / 1e6:.1f} | {least:.3g} | {exact:.3g} "
                f"| {100 * least / exact:.0f} % | {svd / exact:.1f} | {svd / least:.1f} |"
            )
    return "\n".join(lines)


def _rates(rates: Sequence[float | None]) -> str:
    return " and ".join("?" if rate is None else f"{rate / 1e9:.1f}" for rate in rates)
