"""All runs of an experiment, each in a file of its own: what is there is not repeated."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from bench.reproduce.methods import BASELINE, FREE, Method
from bench.reproduce.text import Text
from bench.reproduce.train import Run, Settings, train

CHOICE_SEED = 1000  # of the runs that choose the learning rate, and of no others
FACTOR = 2.0  # between neighbours on the grid of learning rates
MOST = 10  # points of that grid for one method

# Called with what is being done and how many steps of it have just been done.
Progress = Callable[[str, int], object]


@dataclass(frozen=True)
class Choice:
    """Losses by learning rate: of the matrices between, then of all else with the best of those."""

    matrices: dict[float, float]
    others: dict[float, float]

    @property
    def rates(self) -> tuple[float, float]:
        return _best(self.matrices), _best(self.others)

    @property
    def between(self) -> bool:
        """Whether both have a worse neighbour on either side."""
        return all(min(grid) < _best(grid) < max(grid) for grid in (self.matrices, self.others))


@dataclass(frozen=True)
class Result:
    """A method's runs at the rates that were chosen for it, one for each seed from 0 on."""

    method: Method
    choice: Choice
    runs: list[Run]


@dataclass
class Experiment:
    folder: Path
    text: Text
    settings: Settings
    progress: Progress = lambda what, steps: None
    _choices: dict[str, Choice] = field(default_factory=dict)
    _runs: dict[Path, Run] = field(default_factory=dict)

    def choice(self, method: Method) -> Choice:
        """On text and a seed that serve nothing else; AdamW's own has one rate for everything."""
        if method.name not in self._choices:
            if method == BASELINE:
                grid = search(method.start, lambda rate: self._loss(method, rate, rate))
                self._choices[method.name] = Choice(grid, grid)
            else:
                start = self.choice(BASELINE if method == FREE else FREE).rates[1]
                first = search(method.start, lambda rate: self._loss(method, rate, start))
                best = _best(first)
                second = search(start, lambda rate: self._loss(method, best, rate))
                self._choices[method.name] = Choice(first, second)
        return self._choices[method.name]

    def _loss(self, method: Method, rate: float, adamw_rate: float) -> float:
        return self.run(method, (rate, adamw_rate), CHOICE_SEED).final

    def result(self, method: Method, seeds: int) -> Result:
        choice = self.choice(method)
        runs = [self.run(method, choice.rates, seed) for seed in range(seeds)]
        return Result(method, choice, runs)

    def run(self, method: Method, rates: tuple[float, float], seed: int) -> Run:
        """From its file, where the file is of these settings, or trained."""
        wanted: dict[str, Any] = {
            "method": method.name,
            "recipe": method.recipe,
            "rates": list(rates),
            "seed": seed,
        }
        wanted |= {"settings": asdict(self.settings), "characters": len(self.text.train)}
        path = self.folder / f"{slug(method)}-lr{rates[0]:g}-{rates[1]:g}-seed{seed}.json"
        what = f"{method.name}, lr {rates[0]:g} and {rates[1]:g}, seed {seed}"
        if path in self._runs:
            return self._runs[path]
        if (found := _read(path, wanted)) is not None:
            self.progress(what, self.settings.steps)
            self._runs[path] = found
            return found
        held_out = self.text.choice if seed == CHOICE_SEED else self.text.held_out
        corpus = (self.text.train, held_out)
        run = train(method, rates, seed, corpus, self.settings, lambda: self.progress(what, 1))
        self.folder.mkdir(parents=True, exist_ok=True)
        written = path.with_suffix(".part")  # a file that is there is a whole one
        written.write_text(json.dumps(wanted | _rounded(run)) + "\n", encoding="utf-8")
        written.replace(path)
        self._runs[path] = run
        return run


def search(start: float, loss: Callable[[float], float]) -> dict[float, float]:
    """Loss by rate on a grid that grows until its best has a worse neighbour on both sides."""
    losses = {0: loss(start)}
    while len(losses) < MOST:
        best = min(sorted(losses), key=losses.__getitem__)  # the least, where all are infinite
        beside = [k for k in (best - 1, best + 1) if k not in losses]
        if not beside:
            break
        losses[beside[0]] = loss(start * FACTOR ** beside[0])
    return {start * FACTOR**k: losses[k] for k in sorted(losses)}


def _best(grid: dict[float, float]) -> float:
    return min(sorted(grid), key=grid.__getitem__)


def slug(method: Method) -> str:
    return method.name.lower().replace(", ", "-").replace(" ", "-")


def _read(path: Path, wanted: dict[str, Any]) -> Run | None:
    if not path.exists():
        return None
    found = json.loads(path.read_text(encoding="utf-8"))
    if any(found.get(key) != value for key, value in wanted.items()):
        return None
    parts = {key: value for key, value in found.items() if key not in wanted}
    return Run(**{key: _numbers(value) for key, value in parts.items()})


def _numbers(value: Any) -> Any:
    """JSON has no infinity: null stands for it."""
    if isinstance(value, list):
        return [_numbers(one) for one in value]
    return math.inf if value is None else value


def _rounded(run: Run) -> dict[str, Any]:
    def plain(values: Sequence[float]) -> list[float | None]:
        return [round(value, 6) if math.isfinite(value) else None for value in values]

    found = asdict(run)
    final = found.pop("final")
    return {key: plain(values) for key, values in found.items()} | {
        "final": final if math.isfinite(final) else None
    }
