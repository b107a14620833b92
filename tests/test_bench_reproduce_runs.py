"""The GPT experiment: which text, which learning rates, nothing twice, and what is made of it."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from bench import networks
from bench.reproduce import experiment, gpt, report, text
from bench.reproduce.experiment import CHOICE_SEED, Choice, Experiment, Result
from bench.reproduce.methods import BASELINE, FREE, METHODS, Method
from bench.reproduce.train import Run, Settings

TINY = gpt.QUICK
BY_NAME = {method.name: method for method in METHODS}
RATES = (0.01, 0.004)


# ---- Text ----------------------------------------------------------------------------------------


def test_every_file_has_one_use() -> None:
    files = [bytes([i]) for i in range(57)]
    parts = text.split(files)
    assert sorted(b"".join(b"".join(part) for part in parts)) == list(range(57))
    assert [len(part) for part in parts] == [46, 6, 5]
    there = networks.standard_library()
    corpus = text.load()
    lengths = [len(part) for part in (corpus.train, corpus.choice, corpus.held_out)]
    assert sum(lengths) == sum(map(len, there))
    assert min(lengths) > len(corpus.train) / 30


def test_pieces_are_spread_over_the_text_and_stay_in_it() -> None:
    pieces = text.spread(torch.arange(1000), 10, 7)
    assert pieces.shape == (10, 8)
    assert torch.equal(pieces[:, 1:], pieces[:, :-1] + 1)
    assert (pieces[0, 0], pieces[-1, -1]) == (0, 999)


def test_rates_are_chosen_on_other_text_and_another_seed_than_losses(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    corpus = text.Text(*(torch.full((3,), i) for i in range(3)))
    seen: set[tuple[bool, int, int]] = set()

    def spy(method: Any, rates: Any, seed: int, given: Any, *_: Any) -> Run:
        seen.add((seed == CHOICE_SEED, int(given[0][0]), int(given[1][0])))
        return Run([3.0], final=abs(math.log(rates[0] / 0.016)))

    monkeypatch.setattr(experiment, "train", spy)
    result = Experiment(tmp_path, corpus, TINY).result(BASELINE, 3)
    assert seen == {(True, 0, 1), (False, 0, 2)}
    assert result.choice.rates == (0.016, 0.016)
    assert CHOICE_SEED not in range(3)


def test_both_rates_are_chosen_one_beside_the_best_of_the_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """AdamW's rates come first, as those that the search of the others starts from."""
    optimum = {"AdamW": (0.004, 0.004), "AdamW, two rates": (0.002, 0.032), "Muon": (0.08, 0.064)}
    asked: list[Any] = []

    def spy(method: Method, rates: Any, *_: Any) -> Run:
        best = optimum[method.variant]
        asked.append((method.variant, *rates))
        return Run([3.0], sum(abs(math.log(a / b)) for a, b in zip(rates, best, strict=True)))

    monkeypatch.setattr(experiment, "train", spy)
    there = Experiment(tmp_path, text.Text(*(torch.zeros(3),) * 3), TINY)
    choice = there.choice(BY_NAME["Muon, whole"])
    for method in (BASELINE, FREE):
        assert there.choice(method).rates == optimum[method.name]
    assert choice.rates == optimum["Muon"]
    assert ("AdamW, two rates", FREE.start, 0.004) in asked
    assert ("Muon", 0.02, 0.032) in asked
    assert choice.between
    assert min(choice.matrices.values()) == pytest.approx(math.log(2))
    assert not Choice({1.0: 0.0, 2.0: 1.0, 4.0: 2.0}, choice.others).between
    assert not Choice(choice.matrices, {1.0: 2.0, 2.0: 1.0, 4.0: 0.0}).between


# ---- Search and resume ---------------------------------------------------------------------------


@pytest.mark.parametrize("best", [2**-7 * 0.01, 0.01, 8 * 0.01])
def test_the_grid_grows_until_its_best_is_inside(best: float) -> None:
    found = experiment.search(0.01, lambda rate: (math.log2(rate / best)) ** 2)
    rates = list(found)
    assert rates == sorted(rates)
    at = rates.index(min(found, key=found.__getitem__))
    assert rates[at] == best
    assert 0 < at < len(rates) - 1


def test_the_grid_ends_where_losses_always_fall_and_takes_infinite_ones() -> None:
    assert len(experiment.search(1.0, lambda rate: -rate)) == experiment.MOST
    found = experiment.search(1.0, lambda rate: math.inf if rate > 0.3 else 1 / rate)
    assert min(found, key=found.__getitem__) == 0.25


def test_a_finished_run_is_not_repeated_and_one_of_other_settings_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    there = text.Text(*(torch.arange(400) % 9,) * 3)
    method = BY_NAME["Orthogonal-AdamW, newton, heads"]
    told: list[int] = []

    def an_experiment(settings: Settings) -> Experiment:
        return Experiment(tmp_path, there, settings, lambda what, steps: told.append(steps))

    first = an_experiment(TINY).run(method, RATES, 0)
    assert told == [1] * TINY.steps
    assert [path.suffix for path in tmp_path.iterdir()] == [".json"]
    trained: list[Any] = []

    def spy(*arguments: Any) -> Run:
        trained.append(arguments)
        return Run([math.inf, 2.0], final=math.inf)

    monkeypatch.setattr(experiment, "train", spy)
    again = an_experiment(TINY).run(method, RATES, 0)
    assert not trained
    assert told[TINY.steps :] == [TINY.steps]
    assert again.losses == pytest.approx(first.losses, abs=1e-6)
    assert again.final == first.final
    assert again.step_ms == pytest.approx(first.step_ms, abs=1e-6)
    for change in ({"steps": 7}, {"width": 32}):
        an_experiment(replace(TINY, **change)).run(method, RATES, 0)
        an_experiment(replace(TINY, **change)).run(method, RATES, 0)
    assert len(trained) == 2
    an_experiment(TINY).run(method, (RATES[0], 0.1), 0)
    an_experiment(TINY).run(method, RATES, 1)
    an_experiment(TINY).run(replace(method, options={"method": "newton", "rank": 2}), RATES, 2)
    an_experiment(TINY).run(method, RATES, 2)
    assert len(trained) == 6
    lost = an_experiment(TINY).run(method, RATES, 1)
    assert len(trained) == 6
    assert lost == Run([math.inf, 2.0], final=math.inf)


# ---- What is made of it --------------------------------------------------------------------------


def test_steps_to_a_loss_lie_on_the_line_between_two_points() -> None:
    losses = [5.0, 3.0, 2.0, 2.5, 1.0]
    assert report.crossing(losses, 2.5) == 1.5
    assert report.crossing(losses, 2.0) == 2.0
    assert report.crossing(losses, 0.5) is None
    assert report.crossing([math.inf, 2.0], 2.5) == 1.0


def results() -> list[Result]:
    """Heads 0.1 lower in two seeds and 0.1 higher in one; both far below the baseline."""

    grids = Choice({0.01: 3.0, 0.02: 1.0, 0.04: 2.0}, {0.01: 1.0, 0.02: 3.0})

    def result(name: str, finals: list[float], step: float = 3.0) -> Result:
        runs = [
            Run([4.0, 3.0, final], final, [10.0] * 5, [step] * 5, [2.0] * 5) for final in finals
        ]
        return Result(BY_NAME[name], grids, runs)

    return [
        result("AdamW", [2.5, 2.6, 2.7], step=2.0),
        result("Muon, whole", [1.8, 2.0, 1.6]),
        result("Muon, heads", [1.7, 1.9, 1.7], step=4.0),
    ]


def test_differences_are_taken_seed_by_seed() -> None:
    found = report.as_record(results(), TINY)
    (pair,) = found["heads_minus_whole"]
    assert pair["variant"] == "Muon"
    assert pair["mean"] == pytest.approx(-0.1 / 3)
    assert pair["error"] == pytest.approx(0.2 / 3)
    assert (pair["lower"], pair["count"]) == (2, 3)
    assert found["methods"][1]["over_baseline"]["mean"] == pytest.approx(-0.8)
    assert [one["ms"]["orthogonalisation"]["median"] for one in found["methods"]] == [0, 1, 2]
    told = report.text(found)
    assert "| -0.0333 ± 0.0667 | 2 of 3 " in told
    assert "-0.8000 ± 0.1528" in told
    assert "| Muon, heads | 10.00 (10.00 to 10.00) | 2.00 (2.00 to 2.00) | 2.00 (2.00" in told
    assert "| 0 of 3 seeds" in told


def test_the_command_writes_what_it_says_and_goes_on_where_it_was(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    threads: Any,
) -> None:
    monkeypatch.setattr(gpt.process, "pin", lambda threads: None)
    monkeypatch.setattr(experiment, "MOST", 2)
    before = torch.get_num_threads()
    words = ["--quick", "--only", "Muon", "--out", str(tmp_path), "--seeds", "1"]
    try:
        assert gpt.main(words) == 0
        first = capsys.readouterr().out
        monkeypatch.setattr(experiment, "train", None)  # cannot be called
        assert gpt.main(words) == 0
    finally:
        torch.set_num_threads(before)
    assert {path.name for path in tmp_path.iterdir()} == {
        "gpt.png",
        "results.json",
        "runs",
        "table.md",
    }
    assert capsys.readouterr().out == first
    assert "| Muon, heads " in first
    assert "AdamW, two rates" not in first


def test_help_teaches(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        gpt.parse(["--help"])
    told = capsys.readouterr().out
    assert all(method.name in " ".join(told.split()) for method in METHODS)
    assert "python -m bench.reproduce.gpt --quick" in told
    for wrong in (["--seeds", "0"], ["--only", "nobody"], ["--steps", "3"]):
        with pytest.raises(SystemExit):
            gpt.parse(wrong)
