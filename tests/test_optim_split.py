"""One optimiser object for a whole model."""

from __future__ import annotations

import copy
import math
import pickle

import optim_cases as cases
import pytest
import torch
from torch import nn
from torch.amp import GradScaler
from torch.optim.lr_scheduler import CosineAnnealingLR

from ortho_optim import Muon, OrthogonalAdamW, OrthogonalSGD, orthogonalize, split


class Tiny(nn.Module):
    def __init__(self, tied=False):
        super().__init__()
        self.tokens = nn.Embedding(11, 8)
        self.first = nn.Linear(8, 12)
        self.norm = nn.LayerNorm(12)
        self.second = nn.Linear(12, 8)
        self.mix = nn.Parameter(torch.eye(8))
        self.head = nn.Linear(8, 11, bias=False)
        if tied:
            self.head.weight = self.tokens.weight

    def forward(self, x):
        return self.head(self.second(self.norm(self.first(self.tokens(x))).tanh()) @ self.mix)


def make(tied=False, seed=0):
    torch.manual_seed(seed)
    return Tiny(tied)


def backward(model, step, scale=lambda loss: loss):
    generator = torch.Generator().manual_seed(step)
    x = torch.randint(11, (16,), generator=generator)
    loss = nn.functional.cross_entropy(model(x), (x + 1) % 11)
    scale(loss).backward()
    return loss.detach()


def train(model, optimizer, steps):
    for step in steps:
        optimizer.zero_grad()
        backward(model, step)
        optimizer.step()


MATRICES = ["first.weight", "second.weight"]
ARGUMENTS = {"lr": 0.05, "momentum": 0.9, "adamw": {"lr": 1e-2, "weight_decay": 0.1}}


@pytest.mark.parametrize("rule", [OrthogonalSGD, Muon])
def test_split_is_two_optimizers_that_share_a_face(rule):
    one, two = make(), make()
    train(one, split(one, rule, **ARGUMENTS), range(5))
    named = dict(two.named_parameters())
    matrices = [named[n] for n in MATRICES]
    vectors = [p for p in named.values() if p.ndim < 2]
    rest = [p for n, p in named.items() if p.ndim >= 2 and n not in MATRICES]
    decayed = [{"params": rest}, {"params": vectors, "weight_decay": 0.0}]
    a = rule(matrices, lr=0.05, momentum=0.9)
    b = torch.optim.AdamW(decayed, lr=1e-2, weight_decay=0.1)
    for step in range(5):
        a.zero_grad()
        b.zero_grad()
        backward(two, step)
        a.step()
        b.step()
    cases.assert_same_bits(cases.weights(one), cases.weights(two))


def test_the_table_says_what_goes_where_and_why():
    optimizer = split(make(), Muon)
    table = {row.name: (row.rule, row.why) for row in optimizer.table}
    assert table == {
        "mix": ("AdamW", "no layer that is known"),
        "tokens.weight": ("AdamW", "embedding"),
        "first.weight": ("Muon", "linear"),
        "first.bias": ("AdamW", "bias or norm"),
        "norm.weight": ("AdamW", "bias or norm"),
        "norm.bias": ("AdamW", "bias or norm"),
        "second.weight": ("Muon", "linear"),
        "second.bias": ("AdamW", "bias or norm"),
        "head.weight": ("AdamW", "head"),
    }
    lines = str(optimizer).splitlines()
    assert lines[0].split() == ["parameter", "shape", "rule", "why"]
    assert lines[3].split() == ["first.weight", "12x8", "Muon", "linear"]
    assert optimizer.orthogonalized == MATRICES


def test_heads():
    assert split(make(tied=True)).orthogonalized == MATRICES
    assert split(make(), head=None).orthogonalized == [*MATRICES, "head.weight"]
    assert split(make(), head=["second", "head"]).orthogonalized == MATRICES[:1]
    assert split(make(), head="head").orthogonalized == MATRICES
    with pytest.raises(ValueError, match="head must match a weight of model, got 'hat'"):
        split(make(), head="hat")
    with pytest.raises(ValueError, match="model must have a convolution or linear"):
        split(nn.Embedding(3, 3))
    with pytest.raises(TypeError, match="rule must be an orthogonalized class"):
        split(make(), torch.optim.SGD)
    assert split(nn.Conv2d(3, 4, 3, bias=False)).orthogonalized == ["weight"]
    assert split(make(), orthogonalize(torch.optim.Adagrad)).orthogonalized == MATRICES


@pytest.mark.parametrize("copier", ["state_dict", "deepcopy", "pickle"])
def test_resume_has_the_same_bits(copier):
    whole, half = make(), make()
    train(whole, split(whole, Muon, **ARGUMENTS), range(6))
    optimizer = split(half, Muon, **ARGUMENTS)
    train(half, optimizer, range(3))
    if copier == "state_dict":
        state = copy.deepcopy(optimizer.state_dict())
        optimizer = split(half, Muon)
        optimizer.load_state_dict(state)
        assert optimizer.param_groups[1]["lr"] == 1e-2
    elif copier == "deepcopy":
        half, optimizer = copy.deepcopy((half, optimizer))
    else:
        half, optimizer = pickle.loads(pickle.dumps((half, optimizer)))
    train(half, optimizer, range(3, 6))
    cases.assert_same_bits(cases.weights(half), cases.weights(whole))


def test_schedulers_closures_and_hooks_see_one_optimizer():
    model, seen = make(), []
    optimizer = split(model, Muon, **ARGUMENTS)
    optimizer.register_step_post_hook(lambda *_: seen.append(1))
    scheduler = CosineAnnealingLR(optimizer, 4)
    loss = torch.tensor(0.0)

    def closure():
        nonlocal loss
        optimizer.zero_grad()
        loss = backward(model, 0)
        return loss

    assert optimizer.step(closure) is loss
    scheduler.step()
    rates = [group["lr"] for group in optimizer.param_groups]
    cosine = (1 + math.cos(math.pi / 4)) / 2
    assert rates == pytest.approx([0.05 * cosine, 1e-2 * cosine, 1e-2 * cosine])
    assert [g["lr"] for one in optimizer.inner for g in one.param_groups] == rates
    assert seen == [1]


def test_scaled_training_gives_the_weights_of_unscaled_training():
    trained = []
    for scaled in (False, True):
        model = make()
        optimizer = split(model, OrthogonalAdamW, lr=0.01, fused=True, adamw={"fused": True})
        scaler = GradScaler(device="cpu", init_scale=2.0**10, enabled=scaled)
        for step in range(3):
            optimizer.zero_grad()
            backward(model, step, scaler.scale)
            scaler.step(optimizer)
            scaler.update()
        trained.append(cases.weights(model))
    cases.assert_same_bits(*trained)


@pytest.mark.parametrize("where", ["first.weight", "norm.bias"])
def test_a_gradient_that_is_refused_moves_nothing_in_either(where):
    model = make()
    optimizer = split(model, **ARGUMENTS)
    backward(model, 0)
    dict(model.named_parameters())[where].grad.view(-1)[0] = math.nan
    before = cases.weights(model)
    with pytest.raises(RuntimeError, match=f"in those of {where} "):
        optimizer.step()
    cases.assert_same_bits(cases.weights(model), before)
    skipping = split(model, nonfinite="skip", **ARGUMENTS)
    skipping.step()
    assert skipping.skipped == {where: 1}
    after = cases.weights(model)
    assert [n for n in after if torch.equal(after[n], before[n])] == [where]


def test_groups_that_come_later():
    model = make()
    optimizer = split(model, Muon, **ARGUMENTS)
    matrix, vector = nn.Parameter(torch.zeros(2, 2)), nn.Parameter(torch.zeros(2))
    with pytest.raises(ValueError, match="must say 'orthogonalize'"):
        optimizer.add_param_group({"params": [matrix]})
    optimizer.add_param_group({"params": [("m", matrix)], "orthogonalize": True, "lr": 1.0})
    optimizer.add_param_group({"params": [("v", vector)], "orthogonalize": False, "lr": 1.0})
    matrix.grad, vector.grad = torch.eye(2), torch.ones(2)
    optimizer.step()
    assert float(vector.detach()[0]) == pytest.approx(-1.0, rel=1e-5)  # Adam's first step is lr
    assert float(-matrix.detach()[0, 0]) == pytest.approx(1.0, abs=0.35)  # keller_jordan's band
    assert [row.why for row in optimizer.table[-2:]] == ["added later"] * 2
