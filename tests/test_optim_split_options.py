"""What `split` does with options that concern both of its optimisers, or what it decides."""

from __future__ import annotations

import copy
import math
import pickle

import optim_cases as cases
import pytest
import torch
from test_optim_split import ARGUMENTS, MATRICES, backward, make, train
from torch import nn
from torch.optim.lr_scheduler import CyclicLR, OneCycleLR

from ortho_optim import Muon, OrthogonalAdamW, OrthogonalSGD, orthogonalize, split


def why(optimizer, name):
    return next((row.rule, row.why) for row in optimizer.table if row.name == name)


def test_exclude_leaves_weights_to_adamw():
    optimizer = split(make(), Muon, exclude="first")
    assert optimizer.orthogonalized == ["second.weight"]
    assert why(optimizer, "first.weight") == ("AdamW", "excluded")
    assert why(optimizer, "first.bias") == ("AdamW", "bias or norm")
    by_shape = split(make(), exclude=lambda name, p: p.shape[1] == 12)
    assert by_shape.orthogonalized == ["first.weight"]
    assert split(make(), exclude=["tokens", "first.bias"]).orthogonalized == MATRICES
    assert split(make(), orthogonalize(torch.optim.SGD, exclude="first")).orthogonalized == [
        "second.weight"
    ]


def test_include_puts_weights_on_the_rule():
    optimizer = split(make(), Muon, include=["mix", "head", "first"])
    assert optimizer.orthogonalized == ["mix", *MATRICES, "head.weight"]
    assert why(optimizer, "mix") == ("Muon", "included")
    assert why(optimizer, "head.weight") == ("Muon", "included")
    assert why(optimizer, "first.weight") == ("Muon", "linear")
    assert why(optimizer, "first.bias") == ("AdamW", "bias or norm")
    both = split(make(), include=["mix", "head"], exclude="mix")
    assert both.orthogonalized == [*MATRICES, "head.weight"]
    assert why(both, "mix") == ("AdamW", "excluded")


def test_names_that_say_nothing_are_refused():
    with pytest.raises(ValueError, match="split: include must match a weight of model, got 'norm'"):
        split(make(), include="norm")
    with pytest.raises(ValueError, match="split: exclude must match a parameter of model, got 'x'"):
        split(make(), exclude=["first", "x"])
    with pytest.raises(ValueError, match="linear to orthogonalize that exclude leaves, got none"):
        split(make(), exclude="*")
    with pytest.raises(ValueError, match=r"split: layers must be left to split, .* got 'conv'"):
        split(make(), layers="conv")
    with pytest.raises(ValueError, match=r"split: layers must be left to split, .* got 'linear'"):
        split(make(), orthogonalize(torch.optim.SGD, layers="linear"))


def test_view_by_name_speaks_of_split():
    with pytest.raises(ValueError, match=r"'tokens' \(tokens.weight is on AdamW: embedding\)"):
        split(make(), view={"first": "flatten", "tokens": "flatten"})
    with pytest.raises(ValueError, match=r"on OrthogonalSGD, got 'hat' \(nothing in model"):
        split(make(), view={"hat": "flatten"})
    optimizer = split(make(), view={"tokens": "flatten", "f*": "batch"}, include="tokens")
    assert len(optimizer.orthogonalized) == 3


def test_both_maximize_unless_adamw_says_otherwise():
    down, up = make(), make()
    arguments = {"lr": 0.05, "momentum": 0.9, "adamw": {"lr": 1e-2, "weight_decay": 0.0}}
    descending, ascending = split(down, **arguments), split(up, maximize=True, **arguments)
    assert all(group["maximize"] for group in ascending.param_groups)
    for step in range(3):
        for model, optimizer in ((down, descending), (up, ascending)):
            optimizer.zero_grad()
            backward(model, step, (lambda loss: -loss) if model is up else lambda loss: loss)
            optimizer.step()
    cases.assert_same_bits(cases.weights(up), cases.weights(down))
    mixed = split(make(), Muon, maximize=True, adamw={"maximize": False})
    assert [group["maximize"] for group in mixed.param_groups] == [True, False, False]


def test_clipping_is_to_one_norm_over_both():
    model, seen = make(), []
    before, max_norm = cases.weights(model), 0.5
    sgd = {"lr": 1.0, "clip": "orthogonalized", "max_norm": max_norm}
    optimizer = split(model, OrthogonalSGD, **sgd, adamw={"betas": (0.0, 0.0), "lr": 1e-3})
    adamw = optimizer.inner[1]
    take = adamw._take
    adamw._take = lambda given: (seen.extend(given.grads), take(given))
    backward(model, 0)
    raw = {name: p.grad.clone() for name, p in model.named_parameters()}
    optimizer.step()
    moved = [before[name] - cases.weights(model)[name] for name in MATRICES]
    norm = torch.nn.utils.get_total_norm([*moved, *seen])
    assert float(norm) == pytest.approx(max_norm, rel=1e-4)
    ones = [cases.polar_by_hand(raw[name]) for name in MATRICES]
    others = [grad for name, grad in raw.items() if name not in MATRICES]
    whole = torch.nn.utils.get_total_norm([*ones, *others])
    torch.testing.assert_close(moved[0], ones[0] * max_norm / whole, rtol=1e-4, atol=1e-5)
    cases.assert_same_bits({n: p.grad for n, p in model.named_parameters()}, raw)
    with pytest.raises(ValueError, match="clip and max_norm must be given beside adamw"):
        split(make(), adamw={"clip": "orthogonalized", "max_norm": 1.0})


def test_a_gradient_that_adamw_refuses_leaves_momentum_alone():
    model = make()
    optimizer = split(model, Muon, **ARGUMENTS)
    backward(model, 0)
    optimizer.step()
    state = copy.deepcopy(optimizer.state_dict()["state"])
    model.norm.bias.grad[0] = math.nan
    with pytest.raises(RuntimeError, match=r"in those of norm\.bias "):
        optimizer.step()
    torch.testing.assert_close(optimizer.state_dict()["state"], state, rtol=0, atol=0)


@pytest.mark.parametrize("scheduler", [OneCycleLR, CyclicLR])
@pytest.mark.parametrize("rule", [OrthogonalAdamW, Muon])
def test_cyclic_schedules(scheduler, rule):
    rates = {OneCycleLR: {"max_lr": 0.1, "total_steps": 9}, CyclicLR: {"base_lr": 0, "max_lr": 1}}
    model = make()
    optimizer = pickle.loads(pickle.dumps(split(model, rule)))
    keys = [set(group) for group in optimizer.param_groups]
    if rule is Muon:
        with pytest.raises(ValueError, match="must support momentum or beta1"):
            scheduler(optimizer, **rates[scheduler])
        scheduler(optimizer, **rates[scheduler], cycle_momentum=False)
        assert all("betas" not in group for group in optimizer.param_groups[:1])
        vector = nn.Parameter(torch.zeros(2))
        optimizer.add_param_group({"params": [("v", vector)], "orthogonalize": False})
        assert set(optimizer.param_groups[-1]) == keys[1]
    else:
        scheduler(optimizer, **rates[scheduler])
        firsts = {group["betas"][0] for group in optimizer.param_groups}
        assert len(firsts) == 1


def test_cyclic_momentum_where_nothing_is_on_adamw():
    model = nn.Conv2d(3, 4, 3, bias=False)
    optimizer = split(model, lr=0.1, momentum=0.9)
    OneCycleLR(optimizer, max_lr=0.1, total_steps=4)
    assert optimizer.inner[0].param_groups[0]["momentum"] == 0.95
    model.weight.grad = torch.ones_like(model.weight)
    optimizer.step()


def test_training_with_all_of_it_resumes():
    arguments = {**ARGUMENTS, "include": "mix", "exclude": "first", "maximize": True}
    arguments |= {"clip": "orthogonalized", "max_norm": 1.0}
    whole, half = make(), make()
    train(whole, split(whole, Muon, **arguments), range(4))
    optimizer = split(half, Muon, **arguments)
    train(half, optimizer, range(2))
    half, optimizer = pickle.loads(pickle.dumps((half, optimizer)))
    train(half, optimizer, range(2, 4))
    cases.assert_same_bits(cases.weights(half), cases.weights(whole))
