"""What the optimiser layer costs a step besides the polar factors: `python bench/overhead.py`.

A hundred small linear layers, too small for the fused step. The kernels are replaced by factors
that are ready, so that what is left over torch's own step is the layer itself: finding the
gradients, looking for NaN and Inf, exchanging and restoring. The two steps are timed in turns, in
the thread's own CPU time, and the least of many rounds counts. `--check` makes a cost over the
limit an error.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from unittest import mock

import torch
from torch import Tensor, nn

import ortho_kernels as ok
import ortho_optim

LAYERS = 100
LIMIT_MS = 0.3  # over the bare optimiser, where every parameter is orthogonalised
WAYS = {"plain": {"foreach": False}, "foreach": {"foreach": True}, "fused": {"fused": True}}


def make_model(bias: bool) -> nn.Module:
    torch.manual_seed(0)
    model = nn.ModuleList(nn.Linear(16, 16, bias=bias) for _ in range(LAYERS))
    for param in model.parameters():
        param.grad = torch.randn_like(param)
    return model


def milliseconds(call: Callable[[], object], calls: int = 20) -> float:
    start = time.thread_time()
    for _ in range(calls):
        call()
    return 1e3 * (time.thread_time() - start) / calls


def check(model: nn.Module, optimizer: torch.optim.Optimizer, factors: list[Tensor]) -> None:
    """The step that is timed is the real one."""
    matrices = [param for param in model.parameters() if param.ndim == 2]
    before = [param.detach().clone() for param in matrices]
    optimizer.step()
    rate = optimizer.param_groups[0]["lr"]
    for param, old, factor in zip(matrices, before, factors, strict=True):
        torch.testing.assert_close(param.detach(), old - rate * factor)


def measure(way: str, bias: bool, rounds: int) -> tuple[float, float]:
    model = make_model(bias)
    gradients = [p.grad for p in model.parameters() if p.ndim == 2 and p.grad is not None]
    factors = ok.polar_foreach(gradients, "exact")
    arguments = {"lr": 0.01, "momentum": 0.9} | WAYS[way]
    base = torch.optim.SGD(model.parameters(), **arguments)
    ours = ortho_optim.OrthogonalSGD(model, **arguments)
    # A function, because a mock's own call would be timed.
    with mock.patch.object(ok, "polar_foreach", lambda *_, **__: factors):  # noqa: PT008
        check(model, ours, factors)
        bare, wrapped = zip(
            *[(milliseconds(base.step), milliseconds(ours.step)) for _ in range(rounds)],
            strict=True,
        )
    return min(bare), min(wrapped)


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=50)
    parser.add_argument("--check", action="store_true", help=f"exit 1 if over {LIMIT_MS} ms")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    worst = 0.0
    print(f"{LAYERS} layers 16 x 16, SGD with momentum, ms a step")
    print(f"{'':20}{'torch.optim':>12}{'orthogonal':>12}{'over it':>10}")
    for bias in (False, True):
        for way in WAYS:
            bare, wrapped = measure(way, bias, arguments.rounds)
            name = f"{way}, {'with' if bias else 'no'} biases"
            print(f"{name:20}{bare:12.3f}{wrapped:12.3f}{wrapped - bare:10.3f}")
            worst = worst if bias else max(worst, wrapped - bare)
    return int(arguments.check and worst > LIMIT_MS)


if __name__ == "__main__":
    sys.exit(main())
