"""From runs to numbers, and from numbers to the tables."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict
from itertools import pairwise
from typing import Any

from bench.reproduce.experiment import CHOICE_SEED, FACTOR, Choice, Result
from bench.reproduce.methods import BASELINE, HEADS, WHOLE, Method
from bench.reproduce.train import Run, Settings
from demo import machine
from demo.report import WARM_UP, Estimate, Spread

TARGETS = (3.0, 2.6, 2.4)  # held-out loss
Record = dict[str, Any]


# ---- Numbers -------------------------------------------------------------------------------------


def as_record(results: Sequence[Result], settings: Settings) -> Record:
    """Everything that the tables and the picture show, and the curves that it was made from."""
    finals = {one.method: [run.final for run in one.runs] for one in results}
    methods = [_method(one, settings, finals.get(BASELINE)) for one in results]
    pairs = [
        {"variant": whole.variant, **_difference(finals[heads], finals[whole])}
        for whole in finals
        for heads in finals
        if (whole.variant, whole.grain, heads.grain) == (heads.variant, WHOLE, HEADS)
    ]
    return {
        "machine": machine.describe(),
        "settings": asdict(settings),
        "seeds": len(results[0].runs),
        "grid": {"factor": FACTOR, "seed": CHOICE_SEED},
        "methods": methods,
        "heads_minus_whole": pairs,
    }


def _method(one: Result, settings: Settings, baseline: Sequence[float] | None) -> Record:
    finals = [run.final for run in one.runs]
    return {
        "name": one.method.name,
        "variant": one.method.variant,
        "grain": one.method.grain,
        "rate": one.choice.rates[0],
        "adamw_rate": one.choice.rates[1],
        "grid": {name: _pairs(grid) for name, grid in vars(one.choice).items()},
        "between": one.choice.between,
        "curves": [[_finite(loss) for loss in run.losses] for run in one.runs],
        "finals": [_finite(loss) for loss in finals],
        "loss": _estimate(finals),
        "over_baseline": _difference(finals, baseline) if baseline else None,
        "steps_to": {str(target): _steps_to(one.runs, target, settings) for target in TARGETS},
        "ms": _milliseconds(one.runs),
    }


def _steps_to(runs: Sequence[Run], target: float, settings: Settings) -> Record:
    """Between two points of a curve, the straight line; of the seeds that get there."""
    reached = [crossing(run.losses, target) for run in runs]
    return _estimate([settings.every * point for point in reached if point is not None])


def crossing(losses: Sequence[float], target: float) -> float | None:
    """Where the curve first comes down to the target, in points."""
    for i, (above, below) in enumerate(pairwise(losses)):
        if above > target >= below:
            return i + (above - target) / (above - below) if math.isfinite(above) else i + 1.0
    return None


def _difference(ours: Sequence[float], theirs: Sequence[float]) -> Record:
    """Seed by seed: both have the same initial weights and batches."""
    differences = [a - b for a, b in zip(ours, theirs, strict=True)]
    return _estimate(differences) | {"lower": sum(d < 0 for d in differences)}


def _estimate(values: Sequence[float]) -> Record:
    found = asdict(Estimate.of([value for value in values if math.isfinite(value)]))
    return {key: _finite(value) for key, value in found.items()}


def _milliseconds(runs: Sequence[Run]) -> Record:
    def spread(values: Sequence[Sequence[float]]) -> Record:
        return asdict(Spread.of([value for run in values for value in run[WARM_UP:]]))

    extra = [
        [whole - base for whole, base in zip(run.step_ms, run.base_ms, strict=True)] for run in runs
    ]
    return {
        "forward_backward": spread([run.forward_backward_ms for run in runs]),
        "base_step": spread([run.base_ms for run in runs]),
        "orthogonalisation": spread(extra),
    }


def _pairs(grid: dict[float, float]) -> list[list[float | None]]:
    return [[rate, _finite(loss)] for rate, loss in grid.items()]


def _finite(value: float) -> float | None:
    """JSON has no NaN and no infinity: what cannot be told is null."""
    return value if math.isfinite(value) else None


# ---- Tables --------------------------------------------------------------------------------------


def choice(method: Method, chosen: Choice) -> str:
    """What is said of a method when its learning rates have been chosen."""
    grids = (
        ", ".join(f"{rate:g}: {loss:.3f}" for rate, loss in grid.items())
        for grid in (chosen.matrices, chosen.others)
    )
    return (
        f"{method.name}: loss by lr of the matrices {{{next(grids)}}}, the rest {{{next(grids)}}}"
    )


def text(found: Record) -> str:
    parts = [_losses(found), _attention(found), _times(found), _notes(found)]
    return "\n\n".join(part for part in parts if part)


def _losses(found: Record) -> str:
    rows = [
        (
            "method",
            "lr of matrices, of the rest",
            "held-out loss",
            "minus AdamW's",
            *(f"steps to {t}" for t in TARGETS),
        )
    ]
    for one in found["methods"]:
        over = one["over_baseline"] if one["name"] != BASELINE.name else None
        reached = (one["steps_to"][str(target)] for target in TARGETS)
        cells = (_signed(over) if over else "", *(_speed(r, found["seeds"]) for r in reached))
        rates = f"{one['rate']:g}, {one['adamw_rate']:g}" + ("" if one["between"] else " (edge)")
        rows.append((one["name"], rates, _text(one["loss"], 4), *cells))
    return _markdown(rows)


def _attention(found: Record) -> str:
    """The question: each head by itself, or the whole matrix?"""
    if not found["heads_minus_whole"]:
        return ""
    rows = [("heads minus whole", "held-out loss", "seeds in which heads are lower")]
    for one in found["heads_minus_whole"]:
        rows.append((one["variant"], _signed(one), f"{one['lower']} of {found['seeds']}"))
    return _markdown(rows)


def _times(found: Record) -> str:
    rows = [("ms a step", "forward + backward", "base step", "orthogonalisation", "% of both")]
    for one in found["methods"]:
        ms = one["ms"]
        plain = ms["forward_backward"]["median"] + ms["base_step"]["median"]
        extra = ms["orthogonalisation"]
        share = f"{100 * extra['median'] / plain:.1f}"
        if not one["grain"]:  # nothing is orthogonalised: the difference is noise around 0
            extra, share = None, ""
        cells = (Spread(**s).text() if s else "" for s in (*list(ms.values())[:2], extra))
        rows.append((one["name"], *cells, share))
    return _markdown(rows)


def _notes(found: Record) -> str:
    where, settings = found["machine"], found["settings"]
    characters = settings["batch"] * settings["length"]
    return (
        f"± is one standard error over {found['seeds']} seed(s), of differences seed by seed; "
        "times are processor time, medians (quartiles).\n"
        f"{settings['layers']} layers of width {settings['width']}, {settings['heads']} heads, "
        f"{settings['steps']} steps of {characters} characters.\n"
        f"{where['date']}, {where['processor']}, {where['torch_threads']} thread(s), Python "
        f"{where['python']}, torch {where['torch']}, native kernels: "
        f"{where['ortho_kernels']['isa']}."
    )


def _text(estimate: Record, digits: int) -> str:
    values = {key: math.nan if value is None else value for key, value in estimate.items()}
    return Estimate(values["mean"], values["error"], values["count"]).text(digits)


def _signed(estimate: Record) -> str:
    told = _text(estimate, 4)
    return told if told.startswith("-") else f"+{told}"


def _speed(reached: Record, seeds: int) -> str:
    if reached["count"] < seeds:
        return f"{reached['count']} of {seeds} seeds"
    return _text(reached, 1)


def _markdown(rows: Sequence[Sequence[str]]) -> str:
    """Columns of one width, so that a terminal shows a table, too."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = ["| " + " | ".join(map(str.ljust, row, widths)) + " |" for row in rows]
    lines.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
    return "\n".join(lines)
