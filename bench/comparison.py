"""What `python -m bench compare` does: check every answer, then time in turns, case by case."""

from __future__ import annotations

import platform
from argparse import Namespace
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

import ortho_kernels as ok
from bench import gradients, methods, peak, peers, record, shapes, timing
from bench.contender import Contender, Piece
from bench.truth import Truth
from demo import machine


@dataclass(frozen=True)
class Case:
    model: str
    input: str
    gradients: Sequence[Tensor]


def cases(arguments: Namespace) -> Iterator[Case]:
    """Every model with every spectrum, then what was recorded."""
    try:
        for spectrum in arguments.spectrum:
            gradients.by_name(spectrum, [])
        recorded = {source: list(record.load(source).values()) for source in arguments.gradients}
    except (ValueError, OSError) as problem:
        raise SystemExit(f"bench compare: {problem}") from None
    for model in arguments.model:
        for spectrum in arguments.spectrum:
            yield Case(model, spectrum, gradients.by_name(spectrum, shapes.weights(model)))
    for source, there in recorded.items():
        yield Case(Path(source).name.replace(".npz", ""), "recorded", there)


def contenders(only: Sequence[str] = ()) -> tuple[list[Contender], dict[str, str]]:
    """Ours and the peers that are installed; ``only`` keeps names that contain one of its words."""
    found, missing = peers.find()
    everyone = [*methods.contenders(), *found]
    if only:
        everyone = [one for one in everyone if any(word in one.name for word in only)]
    return everyone, missing


def compare(arguments: Namespace) -> dict[str, Any]:
    """The record: everything that the table, the plot and the JSON file say."""
    torch.set_num_threads(arguments.threads)
    ok.set_num_threads(arguments.threads)
    everyone, missing = contenders(arguments.only)
    if not everyone:
        raise SystemExit(f"bench compare: --only {' '.join(arguments.only)} names nobody")
    clock = "cpu" if arguments.threads == 1 else "wall"
    rates = {
        name: peak.measure(getattr(torch, name), clock) / 1e9 for name in ("float32", "float64")
    }
    found: dict[str, Any] = {
        "machine": machine.describe() | {"system": platform.system()},
        "versions": peers.versions(),
        "threads": arguments.threads,
        "rounds": arguments.rounds,
        "clock": clock,
        "peak_gflops": rates | {"how": peak.HOW},
        "missing": missing,
        "cases": [],
    }
    for case in cases(arguments):
        found["cases"].append(_compare(case, everyone, arguments, rates["float32"], clock))
    return found


def _compare(
    case: Case, everyone: Sequence[Contender], arguments: Namespace, rate: float, clock: str
) -> dict[str, Any]:
    title = f"{case.model}, {case.input}"
    truths = [Truth(g) for g in tqdm(case.gradients, f"{title}: truth", leave=False, disable=None)]
    results: dict[str, dict[str, Any]] = {}
    ready: dict[str, list[Piece]] = {}
    for one in tqdm(everyone, f"{title}: answers", leave=False, disable=None):
        pieces = one.prepare(case.gradients)
        results[one.name] = result = _first(one, pieces, truths, arguments)
        if result["status"] == "timed":
            ready[one.name] = pieces
    turns = arguments.rounds * len(ready)
    with tqdm(total=turns, desc=f"{title}: turns", leave=False, disable=None) as bar:
        pause = timing.PAUSE if arguments.threads > 1 else 0.0
        spans = timing.in_turns(ready, arguments.rounds, bar.update, pause)
    for one in everyone:
        result = results[one.name]
        for kind in ("wall", "cpu"):
            if one.name in spans:
                seconds = [getattr(span, kind) for span in spans[one.name]]
                result[f"{kind}_ms"] = timing.quartiles(seconds)
        if one.operations and result["status"] in ("timed", "once"):
            operations = sum(one.operations(*sorted(truth.shape)) for truth in truths)
            gflops = operations / result[f"{clock}_ms"]["median"] / 1e6
            result |= {"gflops": gflops, "of_peak": gflops / rate}
    least = peak.least_operations([truth.shape for truth in truths])
    return {
        "model": case.model,
        "input": case.input,
        "matrices": len(truths),
        "parameters": sum(g.numel() for g in case.gradients),
        "deficient": sum(truth.rank < min(truth.shape) for truth in truths),
        "condition": _range([truth.condition for truth in truths]),
        "least_ms": least / rate / 1e6,
        "results": list(results.values()),
    }


def _first(
    one: Contender, pieces: Sequence[Piece], truths: Sequence[Truth], arguments: Namespace
) -> dict[str, Any]:
    """Its first call, checked. A status other than "timed" keeps it out of the rounds:

    "wrong"    an answer that breaks its promise is not worth a time
    "stopped"  not through all matrices when the patience was over
    "once"     longer than the limit: this single time is what is reported
    """
    first = timing.first_call(pieces, arguments.patience)
    result: dict[str, Any] = {"name": one.name, "ours": one.ours, "promise": one.promise.words}
    result |= {"wall_ms": timing.quartiles([first.span.wall])}
    result |= {"cpu_ms": timing.quartiles([first.span.cpu])}
    if not first.answers:
        return result | {"status": "stopped", "answered": first.answered}
    pairs = [(first.answers[i], truth) for i, truth in enumerate(truths)]
    result["error"] = _worst([truth.error(answer) for answer, truth in pairs])
    result["leak"] = _worst([truth.leak(answer) for answer, truth in pairs])
    broken = [words for answer, truth in pairs if (words := one.promise.broken(answer, truth))]
    if broken:
        return result | {"status": "wrong", "why": broken[0]}
    return result | {"status": "timed" if first.span.wall <= arguments.limit else "once"}


def _worst(values: Sequence[float]) -> float | None:
    """None is how JSON says NaN."""
    worst = float(np.max(values))
    return worst if np.isfinite(worst) else None


def _range(values: Sequence[float]) -> dict[str, float]:
    return {"least": min(values), "median": float(np.median(values)), "most": max(values)}
