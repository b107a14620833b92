"""Train both optimisers side by side and time them honestly.

Both start from the same weights and see the same batches in the same order; what differs is the
optimiser. They take turns, one step each, so that whatever else the machine does in that moment
slows both: the cost of orthogonalisation is the *paired* difference between the two
``optimizer.step()`` of one turn. That counts all of it (the call that orthogonalises, putting the
raw gradients back, the Python around it), whatever the optimiser does inside, and nothing else,
because the two steps otherwise run the same base optimiser on tensors of the same shapes.
Evaluation is not timed.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

import ortho_optim
from demo.data import Digits, batches
from demo.model import BasicCNN

SGDM = "SGDM"
ORTHOGONAL = "Orthogonal-SGDM"
OPTIMIZERS = (SGDM, ORTHOGONAL)
EVALUATION_BATCH = 128  # activations that stay in the cache: half the time of all at once


@dataclass(frozen=True)
class Settings:
    """The thesis's untuned settings; neither optimiser is tuned for the digits."""

    seeds: int = 5
    epochs: int = 20
    batch: int = 256
    lr: float = 1e-2
    momentum: float = 0.9
    weight_decay: float = 5e-4
    method: str = "exact"


@dataclass
class Run:
    """One optimiser, one seed. Entry i of a curve is measured after i steps; times are in ms."""

    loss: list[float] = field(default_factory=list)
    accuracy: list[float] = field(default_factory=list)
    forward_backward_ms: list[float] = field(default_factory=list)
    step_ms: list[float] = field(default_factory=list)


def make_optimizer(name: str, model: nn.Module, settings: Settings) -> torch.optim.Optimizer:
    lr, momentum, decay = settings.lr, settings.momentum, settings.weight_decay
    if name == SGDM:
        return torch.optim.SGD(model.parameters(), lr=lr, momentum=momentum, weight_decay=decay)
    return ortho_optim.OrthogonalSGD(
        model.parameters(), lr=lr, momentum=momentum, weight_decay=decay, method=settings.method
    )


def train(
    data: Digits, settings: Settings, seed: int, on_step: Callable[[], object] = lambda: None
) -> dict[str, Run]:
    """Train with every optimiser from one seed, in turns; ``on_step`` is called after each turn."""
    torch.manual_seed(seed)
    first = BasicCNN()
    models = {name: copy.deepcopy(first) for name in OPTIMIZERS}
    optimizers = {name: make_optimizer(name, models[name], settings) for name in OPTIMIZERS}
    runs = {name: Run() for name in OPTIMIZERS}
    order = torch.Generator().manual_seed(seed)
    for name in OPTIMIZERS:
        _evaluate(models[name], data, runs[name])
    for _ in range(settings.epochs):
        for x, y in batches(data, settings.batch, order):
            for name in OPTIMIZERS:
                _step(models[name], optimizers[name], x, y, runs[name])
            for name in OPTIMIZERS:
                _evaluate(models[name], data, runs[name])
            on_step()
    return runs


def _step(
    model: nn.Module, optimizer: torch.optim.Optimizer, x: Tensor, y: Tensor, run: Run
) -> None:
    start = time.perf_counter()
    optimizer.zero_grad()
    cross_entropy(model(x), y).backward()
    middle = time.perf_counter()
    optimizer.step()
    end = time.perf_counter()
    run.forward_backward_ms.append(1e3 * (middle - start))
    run.step_ms.append(1e3 * (end - middle))


@torch.no_grad()
def _evaluate(model: nn.Module, data: Digits, run: Run) -> None:
    """Loss and accuracy (in percent) on the images that training never sees."""
    model.eval()
    logits = torch.cat([model(part) for part in data.test_x.split(EVALUATION_BATCH)])
    model.train()
    run.loss.append(cross_entropy(logits, data.test_y).item())
    run.accuracy.append(100 * (logits.argmax(1) == data.test_y).double().mean().item())
