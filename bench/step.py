"""`python -m bench step`: the fused step against its composition, without the polar factors."""

from __future__ import annotations

import multiprocessing
import statistics
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from tqdm import tqdm

import ortho_kernels as ok
from bench import process, shapes
from bench.timing import Watch
from ortho_kernels.backends import native
from ortho_kernels.options import polar_options

HELP = "the fused step against polar_foreach and torch.optim.SGD"
DESCRIPTION = """\
Steps on the weights of a model by SGD with momentum on polar factors: by `orthogonal_step_`, and by
`polar_foreach` and then torch.optim.SGD(fused=True), in half types SGD(foreach=True). The two are
held against each other on random gradients, then timed in turns on gradients of zero, whose factors
cost a read and a write: what the kernels take for these alone, into outputs that are there already,
is taken off both.

  python -m bench step
  python -m bench step --model gpt2-block --model basiccnn --dtype bfloat16 --rounds 50
"""
EPILOG = """\
How to read the table, medians in processor time
  fused ms   orthogonal_step_, less the factors
  composed   polar_foreach and torch.optim.SGD, less the factors
  kept       the same with factors written into outputs that are kept from step to step
  ratio      fused / composed, and fused / kept in brackets
  MiB        the most that each way holds besides weights, gradients and buffers and besides what
             the kernels need for the factors, in a process of its own; most: the largest matrix
"""
RULES: dict[str, dict[str, Any]] = {
    "momentum": {"momentum": 0.9},
    "decay": {"momentum": 0.9, "weight_decay": 5e-4},
    "nesterov": {"momentum": 0.9, "weight_decay": 5e-4, "nesterov": True},
}
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
TURN = 0.02  # seconds at least: a small model is stepped several times in its turn
STEPS = 200  # at most, for 0.9^200 of a buffer is no denormal number yet
# Half types: the composition also rounds between its operations (docs/ops/orthogonal_step_.md).
ALLOWED = {torch.float32: 1e-6, torch.float16: 2e-3, torch.bfloat16: 2e-2}


class Case:
    """One model's tensors, twice: for the fused step, and for torch's optimiser."""

    def __init__(self, model: str, dtype: torch.dtype, rule: dict[str, Any]) -> None:
        torch.manual_seed(0)
        self.rule = {"lr": 0.1, **rule}
        self.weights = [torch.randn(shape).to(dtype) for shape in shapes.weights(model)]
        self.gradients = [torch.randn_like(weight) for weight in self.weights]
        self.buffers = [torch.randn_like(weight) for weight in self.weights]
        self.first = [buffer.clone() for buffer in self.buffers]
        self.params = [nn.Parameter(weight.clone()) for weight in self.weights]
        # On the CPU torch 2.13's fused SGD with momentum goes wrong in half types: `check` sees it.
        way = {"fused" if dtype == torch.float32 else "foreach": True}
        self.optimizer = torch.optim.SGD(self.params, **way, **self.rule)  # type: ignore[arg-type]
        self.outs = [torch.zeros_like(weight) for weight in self.weights]
        self._options = polar_options("polar_foreach", "exact")
        self.begin()

    def begin(self) -> None:
        """Both with the same buffers."""
        torch._foreach_copy_(self.buffers, self.first)
        for param, buffer in zip(self.params, self.first, strict=True):
            self.optimizer.state[param]["momentum_buffer"] = buffer.clone()

    def fused(self) -> None:
        ok.orthogonal_step_(self.weights, self.gradients, self.buffers, "exact", **self.rule)

    def composed(self) -> None:
        self._step(ok.polar_foreach(self.gradients, "exact"))

    def kept(self) -> None:
        self.factors()
        self._step(self.outs)

    def _step(self, factors: list[Tensor]) -> None:
        for param, factor in zip(self.params, factors, strict=True):
            param.grad = factor
        self.optimizer.step()

    def factors(self) -> None:
        """The kernels alone."""
        native.polar_foreach(self._options, self.gradients, self.outs, [1] * len(self.outs))

    @property
    def largest(self) -> int:
        return max(weight.nbytes for weight in self.weights)


WAYS: dict[str, Callable[[Case], None]] = {
    "fused": Case.fused,
    "composed": Case.composed,
    "kept": Case.kept,
    "factors": Case.factors,
}


@dataclass
class Times:
    """Seconds of processor time a step, one for each turn; those of `factors` are in the others."""

    ways: dict[str, list[float]] = field(default_factory=lambda: {name: [] for name in WAYS})

    def alone(self, way: str) -> float:
        return statistics.median(self.ways[way]) - statistics.median(self.ways["factors"])

    def ratio(self, way: str) -> float:
        return self.alone("fused") / self.alone(way)


def add_arguments(parser: ArgumentParser) -> None:
    add = parser.add_argument
    add("--model", action="append", choices=shapes.MODELS, help="may be repeated (resnet18)")
    add("--dtype", choices=DTYPES, default="float32")
    add("--rounds", type=int, default=30, metavar="N", help="turns of everyone (default: 30)")


HEAD = ("model", "rule", "fused ms", "composed", "kept", "ratio", "MiB fused", "composed", "most")
WIDTHS = (14, 10, 10, 10, 9, 14, 11, 10, 9)


def run(arguments: Namespace) -> int:
    process.pin(1)
    torch.set_num_threads(1)
    ok.set_num_threads(1)
    dtype = DTYPES[arguments.dtype]
    cases = [(model, name) for model in arguments.model or ["resnet18"] for name in RULES]
    # Memory first: once this process has made the kernels' workspace, no step makes another.
    held = {one: memory(one[0], dtype, RULES[one[1]]) for one in cases}
    _print(HEAD)
    for model, name in cases:
        case = Case(model, dtype, RULES[name])
        check(case)
        times = measure(case, arguments.rounds)
        ms = [f"{1e3 * times.alone(way):.3f}" for way in ("fused", "composed", "kept")]
        ratio = f"{times.ratio('composed'):.2f} ({times.ratio('kept'):.2f})"
        own = [mebibytes(held[model, name], way) for way in ("fused", "composed")]
        _print((model, name, *ms, ratio, *own, f"{case.largest / 2**20:.1f}"))
    return 0


def _print(cells: Sequence[str]) -> None:
    left = "".join(f"{cell:{width}}" for cell, width in zip(cells[:2], WIDTHS, strict=False))
    right = [f"{cell:>{width}}" for cell, width in zip(cells[2:], WIDTHS[2:], strict=True)]
    print(left + "".join(right), flush=True)


def check(case: Case) -> None:
    """Both ways come to the same, before either is timed."""
    case.begin()
    case.fused()
    case.composed()
    for ours, theirs in zip(case.weights, case.params, strict=True):
        error = float((ours - theirs.detach()).abs().max() / ours.abs().max())
        if not error <= ALLOWED[ours.dtype]:
            raise SystemExit(f"step: the two ways differ by {error:.1e} of the largest weight")


def measure(case: Case, rounds: int) -> Times:
    torch._foreach_zero_(case.gradients)
    times = Times()
    calls = {way: _calls(case, step) for way, step in WAYS.items()}
    for _ in tqdm(range(rounds), leave=False, unit="turn"):
        for way, step in WAYS.items():
            case.begin()
            step(case)  # refills the caches
            watch = Watch()
            for _ in range(calls[way]):
                step(case)
            times.ways[way].append(watch.span(calls[way]).cpu)
    return times


def _calls(case: Case, step: Callable[[Case], None]) -> int:
    step(case)
    watch = Watch()
    step(case)
    return min(STEPS, max(1, round(TURN / max(watch.span().cpu, 1e-9))))


# ---- Memory --------------------------------------------------------------------------------------

Held = dict[str, int]


def memory(model: str, dtype: torch.dtype, rule: dict[str, Any]) -> Held | None:
    """By how many bytes one step's peak exceeds what is resident before, each way in a child of
    this process; None where the system does not say."""
    if not Path("/proc/self/clear_refs").exists():
        return None
    case = Case(model, dtype, rule)
    return {way: _in_a_child(case, way) for way in ("fused", "composed", "factors")}


def _in_a_child(case: Case, way: str) -> int:
    context: Any = multiprocessing.get_context("fork")
    ours, theirs = context.Pipe(duplex=False)
    child = context.Process(target=_report, args=(case, way, theirs))
    child.start()
    grown: int = ours.recv()
    child.join()
    return grown


def _report(case: Case, way: str, pipe: Any) -> None:
    WAYS[way](Case("basiccnn", case.weights[0].dtype, case.rule))  # loads the code that runs
    Path("/proc/self/clear_refs").write_text("5")  # the peak begins here
    before = _status("VmRSS")
    WAYS[way](case)
    pipe.send(_status("VmHWM") - before)


def _status(name: str) -> int:
    lines: Iterator[str] = iter(Path("/proc/self/status").read_text().splitlines())
    return 1024 * int(next(line for line in lines if line.startswith(name)).split()[1])


def mebibytes(held: Held | None, way: str) -> str:
    """Beyond what the kernels need for the factors."""
    return "-" if held is None else f"{(held[way] - held['factors']) / 2**20:.1f}"
