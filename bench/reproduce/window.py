"""`python -m bench.reproduce.window`: the thesis's figures on power iteration, and one on training.

Listing F.1: H = X^T X for a gaussian X, 100 x 100, and iterates of power iteration on H itself
(figure 4.12), on one gradient H r (4.13), and on rolling windows of the last gradients (4.17 and
4.18), on several seeds. Then BasicCNN on scikit-learn's digits at a learning rate of 10, plain and
bounded (figure 4.20's question). Writes a picture, and prints the numbers that docs/ops/window.md
quotes.
"""

from __future__ import annotations

import math
from argparse import ArgumentParser
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import cycle, islice
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional
from tqdm import tqdm

from demo import data
from demo.model import BasicCNN
from ortho_kernels.reference.window_step_ import window_step_
from ortho_optim import GradientWindow, TopEigenpair

Array = NDArray[np.float64]
N = 100
WINDOWS = (100, 1000, 10_000)


class HighestYet:
    """1 / the largest eigenvalue so far."""

    def __init__(self) -> None:
        self.top = 0.0

    def __call__(self, part: GradientWindow) -> float:
        self.top = max(self.top, part.eigenvalue)
        return 1 / self.top if self.top > 0 else math.inf


RULES: dict[str, tuple[str | HighestYet | None, float]] = {
    "plain": (None, 1.0),
    "2 / λ": ("eigenvalue", 2.0),
    "1 / λ": ("eigenvalue", 1.0),
    "1 - |cos|": ("projection", 1.0),
    "1 / max λ": (HighestYet(), 1.0),
}


@dataclass
class Trace:
    """|cos| with the true top vector, and estimate / true top eigenvalue, of every iterate."""

    cosines: list[float] = field(default_factory=list)
    ratios: list[float] = field(default_factory=list)


class Problem:
    """H, and power iteration on it."""

    def __init__(self, seed: int) -> None:
        rng = np.random.default_rng(seed)
        x = rng.standard_normal((N, N))
        self.h = x.T @ x
        values, vectors = np.linalg.eigh(self.h)
        self.top, self.vector = values[-1], vectors[:, -1]
        self.rng = rng

    def start(self) -> Array:
        v = self.rng.standard_normal(N)
        return v / np.linalg.norm(v)

    def gradients(self, steps: int) -> Iterator[Array]:
        for _ in range(steps):
            yield self.h @ self.rng.standard_normal(N)

    def record(self, trace: Trace, v: Array, estimate: float) -> None:
        trace.cosines.append(abs(float(v @ self.vector)))
        trace.ratios.append(estimate / float(self.top))

    def known(self, steps: int) -> Trace:
        trace, v = Trace(), self.start()
        for _ in range(steps):
            w = self.h @ v
            length = float(np.linalg.norm(w))
            v = w / length
            self.record(trace, v, length)
        return trace

    def one_gradient(self, steps: int) -> Trace:
        """The window of one row."""
        trace = Trace()
        window, gram, c = np.zeros((1, N)), np.zeros((1, 1)), np.zeros(1)
        for g in self.gradients(steps):
            estimate, _ = window_step_(window, gram, c, g, 0, 1)
            self.record(trace, c @ window, estimate)
        return trace

    def rolling(self, rows: int, steps: int) -> Trace:
        """The printed algorithm with S^T S (n, n) in place of S: the same numbers, for n < rows."""
        trace, v = Trace(), self.start()
        held, matrix = np.zeros((rows, N)), np.zeros((N, N))
        for i, g in enumerate(self.gradients(steps)):
            old = held[i % rows]
            matrix += np.outer(g, g) - np.outer(old, old)
            held[i % rows] = g
            w = matrix @ v
            length = float(np.linalg.norm(w))
            v = w / length
            self.record(trace, v, float(np.sqrt(length / min(i + 1, rows))))
        return trace


def listing(seeds: int, steps: int) -> dict[str, list[Trace]]:
    found: dict[str, list[Trace]] = {}
    for seed in tqdm(range(seeds), leave=False, unit="seed"):
        found.setdefault("known", []).append(Problem(seed).known(100))
        found.setdefault("one", []).append(Problem(seed).one_gradient(100))
        for rows in WINDOWS:
            found.setdefault(str(rows), []).append(Problem(seed).rolling(rows, steps))
    return found


@dataclass
class Training:
    losses: list[float] = field(default_factory=list)
    eigenvalues: list[float] = field(default_factory=list)
    second: list[float] = field(default_factory=list)  # of the window, by `topk`


def training(rule: str, steps: int, rate: float = 10.0) -> Training:
    """The same batches and initial weights for every rule."""
    torch.manual_seed(0)
    digits = data.load()
    model = BasicCNN()
    optimizer = torch.optim.SGD(model.parameters(), lr=rate)
    pair = TopEigenpair(model.parameters(), window=250)
    step_size, c = RULES[rule]
    pair.attach(optimizer, step_size, c=c)
    found = Training()
    batches = torch.randperm(len(digits.train_y)).view(-1, 128)
    for batch in tqdm(islice(cycle(batches), steps), total=steps, leave=False, desc=rule):
        optimizer.zero_grad()
        loss = functional.cross_entropy(model(digits.train_x[batch]), digits.train_y[batch])
        loss.backward()
        optimizer.step()
        found.losses.append(float(loss.detach()))
        found.eigenvalues.append(pair.eigenvalue)
        top = pair.topk(2)
        found.second.append(float(top[1]) if len(top) > 1 else 0.0)
    return found


def report(found: dict[str, list[Trace]], trained: dict[str, Training]) -> None:
    print("listing F.1, last half of the iterates: median over seeds of |cos|, estimate / true")
    for name, traces in found.items():
        half = len(traces[0].cosines) // 2
        cosine = np.median([np.mean(trace.cosines[half:]) for trace in traces])
        ratio = np.median([np.mean(trace.ratios[half:]) for trace in traces])
        print(f"  {name:8}{cosine:8.3f}{ratio:8.3f}")
    print("BasicCNN on digits at rate 10: largest loss, mean of the last 10")
    for name, one in trained.items():
        print(f"  {name:10}{max(one.losses):12.4g}{np.mean(one.losses[-10:]):10.4f}")


def main() -> None:
    parser = ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a toy, in seconds")
    parser.add_argument("--picture", type=Path, default=Path("bench-output/window.png"))
    arguments = parser.parse_args()
    seeds, steps, epochs = (2, 500, 28) if arguments.quick else (5, 10_000, 280)
    found = listing(seeds, steps)
    trained = {rule: training(rule, epochs) for rule in RULES}
    report(found, trained)
    from bench.reproduce.window_figure import draw

    arguments.picture.parent.mkdir(parents=True, exist_ok=True)
    draw(found, trained, arguments.picture)
    print(f"wrote {arguments.picture}")


if __name__ == "__main__":
    main()
