"""Times in turns: A B C, A B C, ... so that what disturbs the machine disturbs everyone alike."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from bench.contender import Piece, run

# Seconds before a turn on more than one thread: those of the one before it may still spin, waiting
# for work, and would take a core from the next. OpenBLAS spins for some 30 ms.
PAUSE = 0.1
TURN = 0.02  # seconds: a quick method is called several times in its turn, a mean to each call


@dataclass(frozen=True)
class Span:
    """Seconds on the clock, and of processor time over all threads of the process."""

    wall: float
    cpu: float


class Watch:
    def __init__(self) -> None:
        self._wall, self._cpu = time.perf_counter(), time.process_time()

    def span(self, calls: int = 1) -> Span:
        wall, cpu = time.perf_counter() - self._wall, time.process_time() - self._cpu
        return Span(wall / calls, cpu / calls)


@dataclass(frozen=True)
class First:
    """The first call: its answers by gradient, none where it was stopped before the end."""

    span: Span
    answered: int
    answers: dict[int, Any] = field(default_factory=dict, repr=False)


def first_call(pieces: Sequence[Piece], patience: float) -> First:
    """Stops between two pieces once `patience` seconds are over: a piece itself runs to its end."""
    watch = Watch()
    answers: dict[int, Any] = {}
    for piece in pieces:
        answers |= zip(piece.indices, piece.call(), strict=True)
        if len(answers) < sum(len(p.indices) for p in pieces) and watch.span().wall > patience:
            return First(watch.span(), len(answers))
    return First(watch.span(), len(answers), answers)


def in_turns(
    ready: Mapping[str, Sequence[Piece]],
    rounds: int,
    progress: Callable[[], object],
    pause: float = 0.0,
) -> dict[str, list[Span]]:
    """`rounds` turns of everyone; ``progress`` is called after each turn."""
    calls = {name: _calls(pieces) for name, pieces in ready.items()}
    spans: dict[str, list[Span]] = {name: [] for name in ready}
    for _ in range(rounds):
        for name, pieces in ready.items():
            time.sleep(pause)
            spans[name].append(_turn(pieces, calls[name]))
            progress()
    return spans


def _calls(pieces: Sequence[Piece]) -> int:
    """How many fill a turn, from the second call: the first one has things to set up."""
    watch = Watch()
    run(pieces)
    return max(1, math.ceil(TURN / max(watch.span().wall, 1e-9)))


def _turn(pieces: Sequence[Piece], calls: int) -> Span:
    if calls > 1:
        run(pieces)  # refills the caches
    watch = Watch()
    for _ in range(calls):
        run(pieces)
    return watch.span(calls)


def quartiles(seconds: Sequence[float]) -> dict[str, float]:
    """Milliseconds."""
    if len(seconds) == 1:
        lower = middle = upper = seconds[0]
    else:
        lower, middle, upper = statistics.quantiles(seconds, n=4, method="inclusive")
    return {"q1": 1e3 * lower, "median": 1e3 * middle, "q3": 1e3 * upper}
