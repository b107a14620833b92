"""`python -m bench training`: how much of a training step the orthogonalisation takes."""

from __future__ import annotations

import statistics
from argparse import ArgumentParser, Namespace
from dataclasses import dataclass, field

import torch
from torch import Tensor
from tqdm import tqdm

import ortho_kernels as ok
from bench import methods, networks, process, truth
from bench.contender import Contender
from bench.contender import run as run_pieces
from bench.peers import torch_svd
from bench.timing import Watch

HELP = "how much of a training step the orthogonalisation takes"
DESCRIPTION = """\
Trains small networks on scikit-learn's digits at 32 x 32 x 3 by SGD with momentum. In each step the
gradients of its convolutions and linear layers are also orthogonalised, by `polar_foreach` and by
torch.linalg.svd matrix by matrix, each answer checked against float64 before the timing begins.

  python -m bench training
  python -m bench training --network resnet20 --threads 2 --steps 20
"""
EPILOG = """\
How to read the table
  step     forward, backward and torch.optim.SGD, the median, in processor time
  ms, %    the orthogonalisation alone, and its share of a step that has it
"""
NETWORKS = {"basic_cnn": networks.basic_cnn, "resnet20": networks.resnet20}
NAMES = ("ok exact", "ok newton", "torch.linalg.svd")


def contenders() -> dict[str, Contender]:
    every = (*methods.contenders(), *torch_svd.contenders())
    return {one.name: one for one in every if one.name in NAMES}


@dataclass
class Times:
    """Seconds of processor time, one for each step."""

    step: list[float] = field(default_factory=list)
    ways: dict[str, list[float]] = field(default_factory=lambda: {name: [] for name in NAMES})

    def share(self, name: str) -> float:
        """Of a step that orthogonalises this way."""
        ours = statistics.median(self.ways[name])
        return ours / (statistics.median(self.step) + ours)


def add_arguments(parser: ArgumentParser) -> None:
    add = parser.add_argument
    add("--network", action="append", choices=NETWORKS, help="may be repeated (default: all)")
    add("--batch", type=int, metavar="N", help="images (default: 32 for basic_cnn, 128 else)")
    add("--steps", type=int, default=30, metavar="N", help="timed, after three (default: 30)")
    add("--threads", type=int, default=1, metavar="N", help="of every library (default: 1)")


def run(arguments: Namespace) -> int:
    process.pin(arguments.threads)
    torch.set_num_threads(arguments.threads)
    ok.set_num_threads(arguments.threads)
    print(f"{'network':12}{'batch':>6}{'step ms':>10}  {'orthogonalised by':20}{'ms':>9}{'%':>8}")
    for name in arguments.network or NETWORKS:
        batch = arguments.batch or (32 if name == "basic_cnn" else 128)
        times = measure(NETWORKS[name](batch), arguments.steps)
        head = f"{name:12}{batch:6}{1e3 * statistics.median(times.step):10.2f}"
        for way, seconds in times.ways.items():
            spent = 1e3 * statistics.median(seconds)
            print(f"{head}  {way:20}{spent:9.3f}{100 * times.share(way):8.2f}")
            head = " " * len(head)
    return 0


def measure(training: networks.Training, steps: int, warm_up: int = 3) -> Times:
    times, ways = Times(), contenders()
    for step in tqdm(range(warm_up + steps), leave=False, unit="step"):
        watch = Watch()
        gradients = _step(training)
        spent = watch.span().cpu
        if step == warm_up:
            _check(ways, gradients)
        if step >= warm_up:
            times.step.append(spent)
            for name, contender in ways.items():
                pieces = contender.prepare(gradients)
                watch = Watch()
                run_pieces(pieces)
                times.ways[name].append(watch.span().cpu)
    return times


def _step(training: networks.Training) -> list[Tensor]:
    """One step of the base optimiser; the gradients that orthogonalisation would see."""
    x, y = next(training.batches)
    training.optimizer.zero_grad()
    training.loss(training.model(x), y).backward()  # type: ignore[no-untyped-call]
    training.optimizer.step()
    grads = [param.grad for param in training.model.parameters() if param.grad is not None]
    return [grad for grad in grads if grad.ndim >= 2]


def _check(ways: dict[str, Contender], gradients: list[Tensor]) -> None:
    truths = [truth.Truth(gradient) for gradient in gradients]
    for name, contender in ways.items():
        for piece in contender.prepare(gradients):
            for index, answer in zip(piece.indices, piece.call(), strict=True):
                if broken := contender.promise.broken(answer, truths[index]):
                    raise SystemExit(f"{name}: {broken}")
