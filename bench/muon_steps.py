"""What `python -m bench muon` does: check a step of everyone, then time steps in turns."""

from __future__ import annotations

import math
from argparse import Namespace
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.optim._muon as torch_module
from torch import Tensor, nn
from torch.optim import Optimizer
from tqdm import tqdm

import ortho_kernels as ok
import ortho_optim
from bench import gradients, shapes, timing
from bench.contender import Piece, Promise, polynomial_operations, polynomial_promise
from bench.peers import torch_muon
from bench.truth import Truth, as_matrix, polynomial
from demo import machine

LR, DECAY, MOMENTUM = 0.02, 0.1, 0.95  # the last two are both optimisers' defaults
MAP = polynomial((torch_muon.TRIPLE,) * torch_muon.STEPS)
FLOAT32 = polynomial_promise(MAP)
BFLOAT16 = polynomial_promise(MAP, "bfloat16")

Make = Callable[[list[nn.Parameter]], Optimizer]


@dataclass(frozen=True)
class Way:
    """`flat`: takes matrices only. `factor`: in place of torch's own polynomial."""

    name: str
    make: Make
    promise: Promise
    flat: bool = False
    factor: Callable[[Tensor], Tensor] | None = None


def ways() -> list[Way]:
    def ours(params: list[nn.Parameter]) -> Optimizer:
        return ortho_optim.Muon(params, LR)

    def ours_in_bf16(params: list[nn.Parameter]) -> Optimizer:
        return ortho_optim.Muon(params, LR, precision="bfloat16")

    def theirs(params: list[nn.Parameter]) -> Optimizer:
        return torch.optim.Muon(params, LR)

    factor = torch_muon.in_float32
    return [
        Way("ortho_optim.Muon", ours, FLOAT32),
        Way("ortho_optim.Muon, bf16", ours_in_bf16, BFLOAT16),
        Way("torch.optim.Muon, its polynomial in f32", theirs, FLOAT32, flat=True, factor=factor),
        Way("torch.optim.Muon", theirs, BFLOAT16, flat=True),
    ]


@dataclass(frozen=True)
class Start:
    """Of a weight, before the step that is checked."""

    weight: Tensor
    momentum: Tensor
    gradient: Tensor

    @property
    def direction(self) -> Tensor:
        """What the polynomial must see: Nesterov's, in float64."""
        momentum = MOMENTUM * self.momentum.double() + (1 - MOMENTUM) * self.gradient.double()
        return (1 - MOMENTUM) * self.gradient.double() + MOMENTUM * momentum


def starts(weights: Sequence[shapes.Shape]) -> list[Start]:
    """Weights of the size that initialisation gives them, so that a step shows in float32."""
    drawn = (gradients.gaussian(weights, seed) for seed in range(3))
    scales = [1 / math.sqrt(math.prod(shape[1:])) for shape in weights]
    return [
        Start(weight * scale, momentum, gradient)
        for weight, momentum, gradient, scale in zip(*drawn, scales, strict=True)
    ]


class Stepper:
    """An optimiser on weights of its own; `step` is what is timed."""

    def __init__(self, way: Way, starts: Sequence[Start]) -> None:
        self.way, self.starts = way, starts
        self.params = [nn.Parameter(self._read(start.weight.clone())) for start in starts]
        self.optimizer = way.make(self.params)
        for param, start in zip(self.params, starts, strict=True):
            param.grad = self._read(start.gradient)
            self.optimizer.state[param]["momentum_buffer"] = self._read(start.momentum.clone())

    def _read(self, tensor: Tensor) -> Tensor:
        return tensor.flatten(1) if self.way.flat else tensor

    def step(self) -> Sequence[Tensor]:
        own = torch_module._zeropower_via_newtonschulz
        if (factor := self.way.factor) is not None:
            torch_module._zeropower_via_newtonschulz = lambda grad, *_: factor(grad)
        try:
            self.optimizer.step()
        finally:
            torch_module._zeropower_via_newtonschulz = own
        return self.params

    def broken(self, truths: Sequence[Truth]) -> str:
        """After the first step: what the weights say of the factor, and by it of all the rest."""
        for param, start, truth in zip(self.params, self.starts, truths, strict=True):
            rate = LR * math.sqrt(max(1.0, truth.shape[0] / truth.shape[1]))
            kept = (1 - LR * DECAY) * as_matrix(start.weight)
            if broken := self.way.promise.broken((kept - as_matrix(param)) / rate, truth):
                return broken
        return ""


def measure(models: Sequence[str], arguments: Namespace) -> Iterator[dict[str, Any]]:
    """The record, anew after every model: a big one takes minutes."""
    torch.set_num_threads(arguments.threads)
    ok.set_num_threads(arguments.threads)
    clock = "cpu" if arguments.threads == 1 else "wall"
    found: dict[str, Any] = {
        "machine": machine.describe(),
        "threads": arguments.threads,
        "rounds": arguments.rounds,
        "clock": clock,
        "models": [],
    }
    for model in models:
        found["models"].append(_model(model, arguments, clock))
        yield found


def _model(model: str, arguments: Namespace, clock: str) -> dict[str, Any]:
    there = starts(shapes.weights(model))
    truths = [
        Truth(start.direction)
        for start in tqdm(there, f"{model}: truth", leave=False, disable=None)
    ]
    results: dict[str, dict[str, Any]] = {}
    ready: dict[str, list[Piece]] = {}
    for way in tqdm(ways(), f"{model}: answers", leave=False, disable=None):
        results[way.name] = result = {"name": way.name}
        expected = estimate(way, there, clock)
        if expected > arguments.patience:
            result |= {"status": "left out", "ms": timing.quartiles([expected])}
            continue
        stepper = Stepper(way, there)
        watch = timing.Watch()
        stepper.step()
        seconds = getattr(watch.span(), clock)
        result |= {"ms": timing.quartiles([seconds])}
        if why := stepper.broken(truths):
            result |= {"status": "wrong", "why": why}
        elif seconds > arguments.limit:
            result |= {"status": "once"}
        else:
            result |= {"status": "timed"}
            ready[way.name] = [Piece((0,), stepper.step)]
    turns = arguments.rounds * len(ready)
    with tqdm(total=turns, desc=f"{model}: turns", leave=False, disable=None) as bar:
        pause = timing.PAUSE if arguments.threads > 1 else 0.0
        spans = timing.in_turns(ready, arguments.rounds, bar.update, pause)
    for name, taken in spans.items():
        results[name]["ms"] = timing.quartiles([getattr(span, clock) for span in taken])
    numbers = sum(start.weight.numel() for start in there)
    return {
        "model": model,
        "weights": len(there),
        "numbers": numbers,
        "results": [*results.values()],
    }


def estimate(way: Way, starts: Sequence[Start], clock: str) -> float:
    """Seconds of a whole step, by the number of operations from that of the cheapest weight."""
    operations = polynomial_operations(torch_muon.STEPS)
    counts = [operations(*sorted(as_matrix(start.weight).shape)) for start in starts]
    cheapest = counts.index(min(counts))
    stepper = Stepper(way, [starts[cheapest]])
    watch = timing.Watch()
    stepper.step()
    return float(getattr(watch.span(), clock) * sum(counts) / counts[cheapest])
