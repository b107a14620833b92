"""torch's generic optimizer tests on our classes: arguments, errors, ways of stepping, parameters.

After torch's test/test_optim.py, with the inputs and error inputs of its own table.
"""

from __future__ import annotations

import warnings

import pytest
import torch
from conftest import rounding
from optim_infos import (
    INFOS,
    OURS,
    configurations,
    every_info,
    impls,
    inputs,
    make_params,
    quietly,
    run,
    set_gradients,
    translated,
)
from torch import nn
from torch.optim.lr_scheduler import ExponentialLR
from torch.testing._internal.common_optimizers import OptimizerErrorEnum

F64 = torch.float64
STEPS = 5
# Two ways to round the same steps of a dozen operations each. Gradients have condition number 4,
# which is what a polar factor magnifies by, and a quotient of Adam's has a denominator down to a
# thousandth of the norm.
ROUNDING = rounding(F64, 1, STEPS * 12) * 4 * 1e3


def test_the_table_has_all_we_know():
    assert {info.name for info in INFOS} == OURS.keys()


@every_info
def test_every_input_makes_an_optimizer_that_prints_and_goes_the_right_way(info):
    for keywords in configurations(info):
        torch.manual_seed(0)
        weight = nn.Parameter(torch.randn(10, 5))
        params = [weight] if info.name == "Muon" else [weight, nn.Parameter(torch.randn(10, 1))]
        x = torch.randn(5, 16)

        def loss(params=params, x=x):
            return sum(((params[0] @ x).sub(1).square().mean(), *(p.mean() for p in params[1:])))

        optimizer = OURS[info.name](params, **keywords)
        assert OURS[info.name].__name__ in repr(optimizer)

        def closure(optimizer=optimizer, loss=loss):
            optimizer.zero_grad()
            value = loss()
            value.backward()
            return value

        first = float(loss().detach())
        assert float(optimizer.step(closure).detach()) == first
        for _ in range(20):
            optimizer.step(closure)
        last = float(loss().detach())
        assert last > first if keywords.get("maximize") else last < first, keywords


@every_info
def test_error_inputs_raise_what_the_base_raises(info):
    # Muon of ours takes what torch's does not, or says no earlier; tested in test_optim_muon.py.
    ours_alone = {"only support 2D parameters", "does not support complex parameters"}
    seen = 0
    for error in info.optim_error_inputs_func("cpu", torch.float32):
        given = error.optimizer_error_input
        if info.name == "Muon" and given.desc in ours_alone:
            continue
        seen += 1
        params = [nn.Parameter(torch.randn(2, 2))] if given.params is None else given.params
        keywords = translated(info, given.kwargs)
        assert error.error_on is OptimizerErrorEnum.CONSTRUCTION_ERROR
        if issubclass(error.error_type, Warning):
            with pytest.warns(error.error_type, match=error.error_regex):
                OURS[info.name](params, **keywords)
            continue
        with pytest.raises(error.error_type) as ours:
            OURS[info.name](params, **keywords)
        if info.name != "Muon":  # its words for its own arguments are ours
            assert ours.match(error.error_regex)
    assert seen >= 7


@every_info
def test_ways_of_stepping_agree(info):
    """foreach and fused equal the loop, weights and state, for every input."""
    ways = impls(info)
    for given, keywords in inputs(info):
        ends = []
        for impl in ways:
            lr_is_tensor = isinstance(keywords.get("lr"), torch.Tensor)
            if lr_is_tensor and impl.get("foreach") and info.has_capturable_arg:
                continue
            params = make_params(info)
            optimizer = OURS[info.name](params, **translated(info, given.kwargs), **impl)
            run(optimizer, params, range(STEPS))
            tensors = [p.detach() for p in params]
            for p in params:
                state = optimizer.state[p]
                tensors += [state[k] for k in sorted(state) if torch.is_tensor(state[k])]
            ends.append([t.to(F64) for t in tensors])
        for other in ends[1:]:
            for a, b in zip(ends[0], other, strict=True):
                assert float((a - b).norm()) <= ROUNDING * float(b.norm()), given.desc


@every_info
def test_a_tensor_rate_is_a_rate_also_under_a_scheduler(info):
    for given, keywords in inputs(info):
        for impl in impls(info):
            if impl.get("foreach") and info.has_capturable_arg:
                continue  # torch refuses it: see the error inputs
            ends = []
            for as_tensor in (False, True):
                params = make_params(info)
                rate = float(keywords.get("lr", 1e-3))
                lr = torch.tensor(rate, dtype=F64) if as_tensor else rate
                optimizer = OURS[info.name](params, **{**keywords, **impl, "lr": lr})
                schedule = ExponentialLR(optimizer, 0.5)
                for step in range(STEPS):
                    run(optimizer, params, [step])
                    schedule.step()
                if as_tensor:
                    assert optimizer.param_groups[0]["lr"] is lr
                    assert float(lr) == pytest.approx(rate * 0.5**STEPS, rel=1e-12)
                ends.append([p.detach() for p in params])
            for a, b in zip(*ends, strict=True):
                assert float((a - b).norm()) <= ROUNDING * float(b.norm()), (given.desc, impl)


@every_info
def test_the_rate_of_a_group_can_become_a_tensor(info):
    """As a checkpoint made with one would have it, in place of the default of the constructor."""
    ends = []
    for lr in (0.25, torch.tensor(0.25, dtype=F64)):
        params = make_params(info)
        extra = {} if info.name == "Muon" else {"foreach": False}
        optimizer = OURS[info.name](params, lr=1.0, **extra)
        optimizer.param_groups[0]["lr"] = lr
        run(optimizer, params, range(STEPS))
        ends.append([p.detach() for p in params])
    for a, b in zip(*ends, strict=True):
        assert float((a - b).norm()) <= ROUNDING * float(b.norm())


@every_info
def test_groups_are_optimizers_of_their_own(info):
    together, apart = make_params(info), make_params(info)
    settings = [{"lr": 0.1}, {"lr": 0.01, "weight_decay": 0.5}, {"weight_decay": 0.2}]
    groups = [{"params": [p], **s} for p, s in zip(together, settings, strict=False)]
    cls = OURS[info.name]
    run(cls(groups, lr=0.05), together, range(STEPS))
    for i, (p, s) in enumerate(zip(apart, settings, strict=False)):
        optimizer = quietly(cls, [p], **{"lr": 0.05, **s})
        for step in range(STEPS):
            set_gradients(apart, step)
            optimizer.step()
        assert torch.equal(p, together[i])


@every_info
def test_mixed_dtypes_step_as_each_would_alone(info):
    kinds = (torch.float32, F64, torch.bfloat16)
    for impl in impls(info):
        params = [make_params(info, dtype)[0] for dtype in kinds]
        run(OURS[info.name](params, **impl), params, range(STEPS))
        for i, dtype in enumerate(kinds):
            alone = [make_params(info, dtype)[0] for dtype in kinds]
            optimizer = OURS[info.name]([alone[i]], **impl)
            run(optimizer, alone, range(STEPS))
            assert torch.equal(alone[i], params[i])
            assert not torch.equal(alone[i], make_params(info, dtype)[0])


@every_info
def test_no_gradient_zero_gradient_and_no_parameters(info):
    cls = OURS[info.name]
    for impl in impls(info):
        params = make_params(info)
        optimizer = cls(params, weight_decay=0, **impl)
        before = [p.detach().clone() for p in params]
        optimizer.step()
        assert all(torch.equal(p, q) for p, q in zip(params, before, strict=True))
        for p in params:
            p.grad = torch.zeros_like(p)
        optimizer.step()
        assert all(torch.equal(p, q) for p, q in zip(params, before, strict=True))
        empty = nn.Parameter(torch.empty(0, 4, dtype=F64))
        optimizer = cls([empty, params[0]], **impl)
        empty.grad = torch.empty_like(empty)
        set_gradients(params[:1], 1)
        optimizer.step()
        assert not torch.equal(params[0], before[0])
    with pytest.raises(ValueError, match="optimizer got an empty parameter list"):
        cls([])


@every_info
def test_complex_vectors_take_the_base_step_and_complex_matrices_are_refused(info):
    cls = OURS[info.name]
    with pytest.raises(TypeError, match="must be real floating point, got complex64"):
        cls([nn.Parameter(torch.zeros(2, 2, dtype=torch.complex64))])
    if info.name == "Muon":
        return
    for given, _ in inputs(info):
        for foreach in (False, True):
            if foreach and isinstance(given.kwargs.get("lr"), torch.Tensor):
                continue
            ours, theirs = (
                [
                    make_params(info)[0],
                    nn.Parameter(torch.tensor([1 + 2j, 3 - 1j], dtype=torch.cdouble)),
                ]
                for _ in range(2)
            )
            optimizer = cls(ours, **translated(info, given.kwargs), foreach=foreach)
            base = info.optim_cls(theirs, **translated(info, given.kwargs), foreach=foreach)
            for step in range(STEPS):
                for params in (ours, theirs):
                    set_gradients(params[:1], step)
                    params[1].grad = torch.tensor([2 - 1j, 1j + step], dtype=torch.cdouble)
                optimizer.step()
                base.step()
            assert torch.equal(ours[1], theirs[1])
            assert not torch.equal(ours[0], theirs[0])


@every_info
def test_nothing_is_warned_of_in_plain_use(info):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for keywords in configurations(info):
            params = make_params(info)
            run(OURS[info.name](params, **keywords), params, range(2))
