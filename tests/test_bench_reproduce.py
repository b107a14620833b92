"""The GPT experiment: who is orthogonalised and how, on which text, and nothing twice."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import planted
import pytest
import torch
from torch import Tensor, nn

from bench import networks
from bench.reproduce import experiment, gpt, methods, report, text, train
from bench.reproduce.experiment import CHOICE_SEED, Choice, Experiment, Result
from bench.reproduce.methods import BASELINE, FREE, HEADS, METHODS, WHOLE, Method
from bench.reproduce.train import Run, Settings
from ortho_kernels import coefficients
from ortho_kernels.reference import polar as reference

TINY = gpt.QUICK
WIDTH, N_HEADS = 24, 3
BETWEEN = ("query", "key", "value", "out", "up", "down")
ORTHOGONAL = [method for method in METHODS if method.rule is not None]
BY_NAME = {method.name: method for method in METHODS}
RATES = (0.01, 0.004)


def a_model() -> nn.Module:
    torch.manual_seed(0)
    return networks.Transformer(8, WIDTH, N_HEADS, layers=2)


def set_gradients(model: nn.Module, sigma: list[float] | None = None) -> None:
    """Matrices with these singular values, and more like the last."""
    for i, p in enumerate(model.parameters()):
        p.grad = torch.randn(p.shape, generator=torch.Generator().manual_seed(i))
        if sigma is not None and p.ndim == 2:
            rank = min(p.shape)
            values = (sigma + [sigma[-1]] * rank)[:rank]
            rng = planted.np.random.default_rng(i)
            p.grad = planted.with_singular_values(rng, *p.shape, values)


def ids(method: Method) -> str:
    return method.name


# ---- Who is orthogonalised, and how --------------------------------------------------------------


@pytest.mark.parametrize("method", ORTHOGONAL, ids=ids)
def test_the_linear_layers_of_the_blocks_are_orthogonalised_and_nothing_else(
    method: Method,
) -> None:
    model = a_model()
    optimizer: Any = method.optimizer(model, N_HEADS, *RATES)
    wanted = [f"blocks.{layer}.{name}.weight" for layer in range(2) for name in BETWEEN]
    assert sorted(optimizer.orthogonalized) == sorted(wanted)
    assert {id(model.get_parameter(name)) for name in wanted} == set(
        map(id, methods.between(model))
    )
    rates = {id(p): group["lr"] for group in optimizer.param_groups for p in group["params"]}
    between = set(map(id, methods.between(model)))
    assert all(rate == RATES[one not in between] for one, rate in rates.items())


@pytest.mark.parametrize("method", METHODS, ids=ids)
def test_everyone_steps_on_each_parameter_once_with_the_same_settings(method: Method) -> None:
    """Also the base without orthogonalisation, whose time is told apart."""
    model = a_model()
    for optimizers in ([method.optimizer(model, N_HEADS, *RATES)], method.base(model, *RATES)):
        groups = [group for one in optimizers for group in one.param_groups]
        counted = Counter(id(p) for group in groups for p in group["params"])
        assert counted == {id(p): 1 for p in model.parameters()}
        for group in groups:
            for p in group["params"]:
                assert group["weight_decay"] == (methods.DECAY if p.ndim == 2 else 0)
                if "betas" in group:
                    assert group["betas"] == methods.ADAMW["betas"]
    assert not hasattr(method.base(model, *RATES)[0], "orthogonalized")


def heads_of(x: Tensor) -> list[Tensor]:
    return list(x.unflatten(0, (N_HEADS, -1)))


def factor_of(x: Tensor, variant: str) -> Tensor:
    table = coefficients.keller_jordan.triples * 5
    found = (
        reference.polynomial(x.numpy(), table) if variant == "Muon" else reference.polar(x.numpy())
    )
    return torch.from_numpy(found).float()


def first_factors(method: Method, model: nn.Module) -> dict[str, Tensor]:
    """What AdamW's first moment, or Muon's weights, say of the factors of the first step."""
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    optimizer = method.optimizer(model, N_HEADS, *RATES)
    optimizer.step()
    found = {}
    for name, p in model.named_parameters():
        if "exp_avg" in optimizer.state[p]:
            found[name] = optimizer.state[p]["exp_avg"] / (1 - methods.ADAMW["betas"][0])
        else:
            scale = math.sqrt(max(1.0, p.shape[0] / p.shape[1]))
            kept = (1 - RATES[0] * methods.DECAY) * before[name].double()
            found[name] = ((kept - p.detach()) / (RATES[0] * scale)).float()
    return found


@pytest.mark.parametrize("grain", [WHOLE, HEADS])
@pytest.mark.parametrize("variant", ["Orthogonal-AdamW", "Muon"])
def test_heads_are_orthogonalised_one_by_one_and_whole_matrices_whole(
    variant: str, grain: str
) -> None:
    model = a_model()
    set_gradients(model)
    found = first_factors(BY_NAME[f"{variant}, {grain}"], model)
    for name, p in model.named_parameters():
        if p not in set(methods.between(model)):
            continue
        by_heads = grain == HEADS and name.split(".")[-2] in ("query", "key", "value")
        parts = heads_of(p.grad) if by_heads else [p.grad]
        wanted = torch.cat([factor_of(part, variant) for part in parts])
        assert float((found[name] - wanted).norm() / wanted.norm()) < 1e-4, name
    query = found["blocks.0.query.weight"]
    across = heads_of(query)[0] @ heads_of(query)[1].T  # 0 between rows of one orthonormal factor
    if variant != "Muon":  # whose factors are not quite orthonormal
        assert (float(across.norm()) > 0.1) == (grain == HEADS)


@pytest.mark.parametrize(
    ("variant", "kept"),
    [
        ("Orthogonal-AdamW", 4),
        ("Orthogonal-AdamW, rtol 1e-4", 3),
        ("Orthogonal-AdamW, rtol 1e-3", 2),
        ("Orthogonal-AdamW, newton", 2),
    ],
)
def test_each_threshold_is_the_one_of_its_name(variant: str, kept: int) -> None:
    """Singular values in four steps, one for each threshold to come between two."""
    steps = [1.0, 5e-3, 3e-4, 1e-5]
    model = a_model()
    set_gradients(model, [value for value in steps for _ in range(WIDTH // 4)])
    name = "blocks.1.out.weight"
    u, _, vt = torch.linalg.svd(model.get_parameter(name).grad.double())
    factor = first_factors(BY_NAME[f"{variant}, {WHOLE}"], model)[name].double()
    sizes = torch.diagonal(u.T @ factor @ vt.T).unflatten(0, (4, -1)).mean(1).tolist()
    assert [size > 0.9 for size in sizes] == [i < kept for i in range(4)], sizes


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


# ---- Training ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def corpus() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    return tuple(torch.randint(9, (400,), generator=generator) for _ in range(2))  # type: ignore[return-value]


def a_run(name: str, corpus: Any, seed: int = 0, **changes: Any) -> Run:
    return train.train(BY_NAME[name], RATES, seed, corpus, replace(TINY, **changes))


def test_a_seed_determines_a_run_and_starts_all_methods_alike(corpus: Any) -> None:
    one, again = a_run("Muon, heads", corpus), a_run("Muon, heads", corpus)
    assert one.losses == again.losses
    assert one.final == again.final
    assert len(one.losses) == 1 + TINY.steps // TINY.every
    assert len(one.step_ms) == len(one.base_ms) == len(one.forward_backward_ms) == TINY.steps
    assert one.losses[-1] < one.losses[0]
    other = a_run("AdamW", corpus)
    assert other.losses[0] == one.losses[0]
    assert other.losses[-1] != one.losses[-1]
    assert a_run("Muon, heads", corpus, seed=1).losses[0] != one.losses[0]


def test_all_methods_see_the_same_batches(corpus: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Tensor] = []
    plain = networks.text_batches

    def spy(*arguments: Any) -> Any:
        for x, y in plain(*arguments):
            seen.append(x)
            yield x, y

    monkeypatch.setattr(networks, "text_batches", spy)
    for name in ("AdamW", "Orthogonal-AdamW, heads"):
        a_run(name, corpus, steps=3)
    first, second = seen[:3], seen[-3:]
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


@pytest.mark.parametrize("name", ["Muon, whole", "Orthogonal-AdamW, heads"])
def test_timing_the_base_beside_it_changes_nothing(
    name: str, corpus: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    timed = a_run(name, corpus)
    monkeypatch.setattr(Method, "base", lambda *_: [])
    assert a_run(name, corpus).losses == timed.losses


def test_the_loss_is_of_all_pieces_whatever_the_batch_and_infinite_where_lost() -> None:
    model = a_model()
    pieces = torch.randint(9, (7, 6))
    wanted = networks.next_byte_loss(model(pieces[:, :-1]), pieces[:, 1:]).item()
    for at_once in (2, 7):
        assert train.loss(model, pieces, at_once) == pytest.approx(wanted, rel=1e-6)
    model.get_parameter("token.weight").data[0] = math.nan
    assert train.loss(model, torch.zeros_like(pieces)) == math.inf


def test_the_schedule_warms_up_and_ends_at_a_tenth() -> None:
    rates = [train.warm_up_then_cosine(100, step) for step in range(101)]
    assert rates[:5] == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0])
    assert rates[5] == 1.0
    assert rates[-1] == pytest.approx(0.1)
    assert all(a >= b for a, b in pairwise(rates[5:]))


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
    tmp_path: Path, corpus: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    there = text.Text(corpus[0], corpus[1], corpus[1])
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
