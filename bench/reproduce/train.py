"""One run: a small GPT, one optimiser, one learning rate, one seed.

Initial weights and batches depend on the seed alone, so runs of one seed differ in the optimiser
and nothing else. A second model takes the same gradients and the base optimiser's step, so that
what orthogonalising costs is a paired difference; its weights are used for nothing else.
"""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import LambdaLR

from bench import networks
from bench.reproduce import text
from bench.reproduce.methods import Method


@dataclass(frozen=True)
class Settings:
    width: int = 64
    heads: int = 4
    layers: int = 2
    length: int = 64  # characters that it sees
    batch: int = 16  # pieces of that length a step
    steps: int = 200
    every: int = 10  # steps between two points of a curve
    watched: int = 64  # held-out pieces behind a point of the curve
    judged: int = 512  # held-out pieces behind the final loss


@dataclass
class Run:
    """Point i of `losses` is after `i * every` steps; times are of the processor, in ms a step."""

    losses: list[float] = field(default_factory=list)
    final: float = math.inf
    forward_backward_ms: list[float] = field(default_factory=list)
    step_ms: list[float] = field(default_factory=list)
    base_ms: list[float] = field(default_factory=list)


def train(
    method: Method,
    rates: tuple[float, float],
    seed: int,
    corpus: tuple[Tensor, Tensor],
    settings: Settings,
    on_step: Callable[[], object] = lambda: None,
) -> Run:
    """`rates` are the matrices' and AdamW's, `corpus` what is trained on and what is held out."""
    torch.manual_seed(seed)
    model = networks.Transformer(settings.length, settings.width, settings.heads, settings.layers)
    shadow = copy.deepcopy(model)
    optimizer = method.optimizer(model, settings.heads, *rates)
    bases = method.base(shadow, *rates)
    schedule = LambdaLR(optimizer, partial(warm_up_then_cosine, settings.steps))
    generator = torch.Generator().manual_seed(seed)
    batches = networks.text_batches(corpus[0], settings.batch, settings.length, generator)
    pieces = text.spread(corpus[1], settings.judged, settings.length)
    watched = pieces[:: settings.judged // settings.watched]
    run = Run(losses=[loss(model, watched)])
    for step, (x, y) in zip(range(1, settings.steps + 1), batches, strict=False):
        start = time.process_time()
        optimizer.zero_grad()
        torch.autograd.backward(networks.next_byte_loss(model(x), y))
        middle = time.process_time()
        optimizer.step()
        end = time.process_time()
        run.forward_backward_ms.append(1e3 * (middle - start))
        run.step_ms.append(1e3 * (end - middle))
        for mine, other in zip(model.parameters(), shadow.parameters(), strict=True):
            other.grad = mine.grad
        start = time.process_time()
        for base in bases:
            base.step()
        run.base_ms.append(1e3 * (time.process_time() - start))
        schedule.step()
        if step % settings.every == 0:
            run.losses.append(loss(model, watched))
        on_step()
    run.final = loss(model, pieces)
    return run


def warm_up_then_cosine(steps: int, step: int) -> float:
    """A twentieth of the steps upwards, then down to a tenth of the rate."""
    warm = max(1, steps // 20)
    if step < warm:
        return (step + 1) / warm
    return 0.1 + 0.45 * (1 + math.cos(math.pi * (step - warm) / max(1, steps - warm)))


@torch.no_grad()
def loss(model: nn.Module, pieces: Tensor, at_once: int = 32) -> float:
    """Nats a character; infinite where the model has gone astray."""
    parts = [
        networks.next_byte_loss(model(p[:, :-1]), p[:, 1:]) * len(p) for p in pieces.split(at_once)
    ]
    mean = float(torch.stack(parts).sum()) / len(pieces)
    return mean if math.isfinite(mean) else math.inf
