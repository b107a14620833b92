"""From runs to numbers: means with standard errors, steps to a target, milliseconds, the table."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from statistics import fmean, quantiles, stdev
from typing import Any

from demo.train import OPTIMIZERS, ORTHOGONAL, SGDM, Run, Settings

TARGETS = (90, 95, 97)  # percent, on the held-out images
WARM_UP = 3  # steps of every run that are not timed: thread pools start, kernels are chosen

# One entry per seed: what each optimiser did from the same start on the same batches.
Runs = Sequence[dict[str, Run]]


@dataclass(frozen=True)
class Estimate:
    """A mean over seeds, its standard error (NaN for one seed) and how many seeds it holds."""

    mean: float
    error: float
    count: int

    @staticmethod
    def of(values: Sequence[float]) -> Estimate:
        if not values:
            return Estimate(math.nan, math.nan, 0)
        error = stdev(values) / math.sqrt(len(values)) if len(values) > 1 else math.nan
        return Estimate(fmean(values), error, len(values))

    def text(self, digits: int) -> str:
        error = "" if math.isnan(self.error) else f" ± {self.error:.{digits}f}"
        return f"{self.mean:.{digits}f}{error}"


@dataclass(frozen=True)
class Spread:
    """Median and quartiles: on a shared machine the mean would tell of the neighbours."""

    low: float
    median: float
    high: float

    @staticmethod
    def of(values: Sequence[float]) -> Spread:
        return Spread(*quantiles(values, n=4, method="inclusive"))

    def text(self) -> str:
        return f"{self.median:.2f} ({self.low:.2f} to {self.high:.2f})"


@dataclass(frozen=True)
class Cost:
    """Milliseconds of one training step; the quartiles are over all steps of all seeds."""

    forward_backward: Spread
    base_step: Spread
    orthogonalisation: Spread  # paired differences, see train.py

    @property
    def resolved(self) -> bool:
        """Whether the difference stands out of its own spread; without that no ratio is shown."""
        return self.orthogonalisation.low > 0

    @property
    def overhead_percent(self) -> float:
        """What orthogonalisation adds to a plain step, in percent of that plain step."""
        plain = self.forward_backward.median + self.base_step.median
        return 100 * self.orthogonalisation.median / plain


def steps_to(run: Run, target: float) -> int | None:
    """The first step after which the held-out accuracy is at the target."""
    return next((step for step, value in enumerate(run.accuracy) if value >= target), None)


def final(runs: Runs, name: str) -> tuple[Estimate, Estimate]:
    """Held-out loss and accuracy after the last step."""
    loss = Estimate.of([seed[name].loss[-1] for seed in runs])
    return loss, Estimate.of([seed[name].accuracy[-1] for seed in runs])


def speed(runs: Runs, name: str, target: float) -> Estimate:
    """Steps to the target, over the seeds that get there (``count`` says how many)."""
    found = (steps_to(seed[name], target) for seed in runs)
    return Estimate.of([step for step in found if step is not None])


def cost(runs: Runs) -> Cost:
    base: list[float] = []
    extra: list[float] = []
    passes: list[float] = []
    for seed in runs:
        base += seed[SGDM].step_ms[WARM_UP:]
        pairs = zip(seed[ORTHOGONAL].step_ms, seed[SGDM].step_ms, strict=True)
        extra += [orthogonal - plain for orthogonal, plain in pairs][WARM_UP:]
        for name in OPTIMIZERS:
            passes += seed[name].forward_backward_ms[WARM_UP:]
    return Cost(Spread.of(passes), Spread.of(base), Spread.of(extra))


def table(runs: Runs, steps_per_epoch: int) -> str:
    """A Markdown table with aligned columns: it reads well in a terminal and in a document."""
    rows: list[tuple[str, ...]] = [("", *OPTIMIZERS)]
    ends = {name: final(runs, name) for name in OPTIMIZERS}
    rows.append(("held-out loss", *(ends[name][0].text(4) for name in OPTIMIZERS)))
    rows.append(("held-out accuracy, %", *(ends[name][1].text(2) for name in OPTIMIZERS)))
    for target in TARGETS:
        cells = (_speed_cell(runs, name, target, steps_per_epoch) for name in OPTIMIZERS)
        rows.append((f"steps (epochs) to {target} %", *cells))
    spent = cost(runs)
    rows.append(("forward + backward, ms", *(spent.forward_backward.text(),) * 2))
    rows.append(("base optimiser step, ms", *(spent.base_step.text(),) * 2))
    rows.append(("orthogonalisation, ms", "-", spent.orthogonalisation.text()))
    overhead = f"{spent.overhead_percent:.1f}" if spent.resolved else "lost in the noise"
    rows.append(("overhead, % of a plain step", "-", overhead))
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    lines = ["| " + " | ".join(map(str.ljust, row, widths)) + " |" for row in rows]
    lines.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
    return "\n".join(lines)


def as_json(
    runs: Runs, settings: Settings, steps_per_epoch: int, machine: dict[str, Any]
) -> dict[str, Any]:
    """Everything that the table and the picture show, and the curves they were made from."""
    summary: dict[str, Any] = {}
    for name in OPTIMIZERS:
        loss, accuracy = final(runs, name)
        reached = {str(target): _finite(speed(runs, name, target)) for target in TARGETS}
        summary[name] = {
            "loss": _finite(loss),
            "accuracy_percent": _finite(accuracy),
            "steps_to_percent": reached,
        }
    spent = cost(runs)
    overhead = {"overhead_percent": spent.overhead_percent, "overhead_resolved": spent.resolved}
    return {
        "settings": {**asdict(settings), "steps_per_epoch": steps_per_epoch},
        "machine": machine,
        "summary": summary,
        "milliseconds": {**asdict(spent), **overhead},
        "runs": [{name: asdict(run) for name, run in seed.items()} for seed in runs],
    }


def _speed_cell(runs: Runs, name: str, target: float, steps_per_epoch: int) -> str:
    found = speed(runs, name, target)
    if found.count < len(runs):
        return f"by {found.count} of {len(runs)} seeds"
    return f"{found.text(1)} ({found.mean / steps_per_epoch:.1f})"


def _finite(estimate: Estimate) -> dict[str, float | int | None]:
    """JSON has no NaN: what one seed cannot tell is null."""
    values = asdict(estimate)
    return {key: None if math.isnan(value) else value for key, value in values.items()}
