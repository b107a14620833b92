"""The GPT experiment: who is orthogonalised and how, and that runs differ in nothing else."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import replace
from itertools import pairwise
from typing import Any

import planted
import pytest
import torch
from torch import Tensor, nn

from bench import networks
from bench.reproduce import gpt, methods, train
from bench.reproduce.methods import HEADS, METHODS, WHOLE, Method
from bench.reproduce.train import Run
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
