"""What the optimiser layer costs a step besides the polar factors: `python -m bench.overhead`.

A hundred small linear layers. What it is compared with does by hand what cannot be left out:
`polar_foreach` on the gradients, then torch's own step. What is left is the layer itself: finding
the gradients, looking for NaN and Inf, exchanging and restoring; SGD takes the fused step, which is
both in one. The factors are one cheap polynomial step, or their time would hide the rest.

Both parts by hand are one turn of the clock: each on its own would find its data in the caches,
where in a step the one has just driven out the other's. The two are timed in turns, in the thread's
own CPU time, and the least of many rounds counts. `--check` makes a cost over the limit an error.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import nn

import ortho_kernels as ok
import ortho_optim

LAYERS = 100
FACTORS: dict[str, Any] = {"method": "newton_schulz", "steps": 1}
LIMIT_MS = 0.3  # over the bare optimiser
WAYS = {"plain": {"foreach": False}, "foreach": {"foreach": True}, "fused": {"fused": True}}
RULES: dict[str, tuple[type[torch.optim.Optimizer], dict[str, Any]]] = {
    "SGD": (torch.optim.SGD, {"lr": 0.01, "momentum": 0.9}),
    "AdamW": (torch.optim.AdamW, {"lr": 0.01}),
}


class Times(NamedTuple):
    """Milliseconds a step."""

    bare: float  # torch's own
    by_hand: float  # the factors, and torch's own
    orthogonal: float  # ours

    @property
    def over(self) -> float:
        return self.orthogonal - self.by_hand


def make_model(bias: bool) -> nn.Module:
    torch.manual_seed(0)
    model = nn.ModuleList(nn.Linear(16, 16, bias=bias) for _ in range(LAYERS))
    for param in model.parameters():
        param.grad = torch.randn_like(param)
    return model


def milliseconds(call: Callable[[], object]) -> float:
    start = time.thread_time()
    call()
    return 1e3 * (time.thread_time() - start)


def check(rule: str, model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    """The step that is timed is the real one: torch's own, on factors."""
    base, arguments = RULES[rule]
    twins = [nn.Parameter(param.detach().clone()) for param in model.parameters()]
    for twin, param in zip(twins, model.parameters(), strict=True):
        assert param.grad is not None
        twin.grad = ok.polar(param.grad, **FACTORS) if param.ndim == 2 else param.grad.clone()
    base(twins, **arguments).step()  # type: ignore[call-arg]
    optimizer.step()
    for twin, param in zip(twins, model.parameters(), strict=True):
        torch.testing.assert_close(param.detach(), twin.detach())


def measure(rule: str, way: str, bias: bool, rounds: int) -> Times:
    model = make_model(bias)
    base, arguments = RULES[rule]
    arguments = arguments | WAYS[way]
    cls: Any = ortho_optim.orthogonalize(base)
    ours = cls(model, **arguments, **FACTORS)
    check(rule, model, ours)
    theirs = base(model.parameters(), **arguments)  # type: ignore[call-arg]
    gradients = [p.grad for p in model.parameters() if p.ndim == 2 and p.grad is not None]

    def by_hand() -> None:
        ok.polar_foreach(gradients, **FACTORS)
        theirs.step()

    calls = (theirs.step, by_hand, ours.step)
    turns = [[milliseconds(call) for call in calls] for _ in range(rounds)]
    return Times(*map(min, zip(*turns, strict=True)))


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=500)
    parser.add_argument("--check", action="store_true", help=f"exit 1 if over {LIMIT_MS} ms")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    worst = 0.0
    print(f"{LAYERS} layers 16 x 16, ms a step")
    print(f"{'':27}{'torch.optim':>12}{'+ factors':>11}{'orthogonal':>12}{'over it':>10}")
    for rule in RULES:
        for bias in (False, True):
            for way in WAYS:
                times = measure(rule, way, bias, arguments.rounds)
                name = f"{rule}, {way}, {'with' if bias else 'no'} biases"
                numbers = f"{times.bare:12.3f}{times.by_hand:11.3f}{times.orthogonal:12.3f}"
                print(f"{name:27}{numbers}{times.over:10.3f}", flush=True)
                worst = max(worst, times.over)
    return int(arguments.check and worst > LIMIT_MS)


if __name__ == "__main__":
    sys.exit(main())
