"""torch's generic optimizer tests on our classes: state, checkpoints, copies, hooks.

After torch's test/test_optim.py, with the inputs of its own table, each in every way of stepping.
"""

from __future__ import annotations

import copy
import io
import pickle

import pytest
import torch
from optim_infos import OURS, configurations, every_info, make_params, run
from torch.optim.optimizer import (
    register_optimizer_step_post_hook,
    register_optimizer_step_pre_hook,
)


def bits(tree):
    """A state_dict as something that == compares exactly."""
    if isinstance(tree, dict):
        return {key: bits(value) for key, value in tree.items()}
    if isinstance(tree, (list, tuple)):
        return [bits(value) for value in tree]
    if torch.is_tensor(tree):
        return tree.dtype, tuple(tree.shape), tree.detach().flatten().tolist()
    return tree


def clone_of(params):
    return [torch.nn.Parameter(p.detach().clone()) for p in params]


def assert_same_future(one, its_params, two, other_params):
    for optimizer, params in ((one, its_params), (two, other_params)):
        run(optimizer, params, range(3, 6))
    assert all(torch.equal(p, q) for p, q in zip(its_params, other_params, strict=True))
    assert bits(one.state_dict()) == bits(two.state_dict())


@every_info
def test_a_checkpoint_round_trip_is_exact_and_resumes_with_the_same_bits(info):
    for keywords in configurations(info):
        params = make_params(info)
        optimizer = OURS[info.name](params, **keywords)
        run(optimizer, params, range(3))
        saved = bits(optimizer.state_dict())
        assert bits(optimizer.state_dict()) == saved  # reading it changes nothing
        file = io.BytesIO()
        torch.save(optimizer.state_dict(), file)
        file.seek(0)
        others = clone_of(params)
        fresh = OURS[info.name](others, **copy.deepcopy(keywords))
        fresh.load_state_dict(torch.load(file, weights_only=True))
        assert bits(fresh.state_dict()) == saved
        assert_same_future(optimizer, params, fresh, others)


@every_info
@pytest.mark.parametrize("copier", [copy.deepcopy, lambda x: pickle.loads(pickle.dumps(x))])
def test_copies_have_all_attributes_and_the_same_future(info, copier):
    for keywords in configurations(info):
        params = make_params(info)
        optimizer = OURS[info.name](params, **keywords)
        run(optimizer, params, range(3))
        twin, others = copier((optimizer, params))

        def public(one):
            return {name for name in vars(one) if not name.startswith("_")}

        assert public(twin) == public(optimizer)
        assert twin.orthogonalized == optimizer.orthogonalized
        assert twin.param_groups[0]["params"][0] is others[0]
        assert_same_future(optimizer, params, twin, others)


@every_info
def test_checkpoints_go_to_the_base_and_back(info):
    for keywords in configurations(info):
        if info.name == "Muon":
            own = ("steps", "coefficients", "scale")  # no names of torch's
            keywords = {k: v for k, v in keywords.items() if k not in own}
        params = make_params(info)
        ours = OURS[info.name](params, **keywords)
        theirs = info.optim_cls(clone_of(params), **copy.deepcopy(keywords))
        run(ours, params, range(2))
        saved = copy.deepcopy(ours.state_dict())
        theirs.load_state_dict(saved)
        back = OURS[info.name](clone_of(params), **copy.deepcopy(keywords))
        back.load_state_dict(copy.deepcopy(theirs.state_dict()))
        assert bits(back.state_dict()["state"]) == bits(saved["state"])
        for mine, its in zip(back.param_groups, saved["param_groups"], strict=True):
            assert all(bits(mine[key]) == bits(its[key]) for key in its if key != "params")


@every_info
def test_checkpoints_from_before_a_flag_was_there(info):
    """Without the flags torch added later, and with steps counted in plain numbers."""
    flags = info.not_og_supported_flags or ("maximize", "decoupled_weight_decay")  # Muon's, here
    for keywords in configurations(info):
        keywords = {k: v for k, v in keywords.items() if k not in flags}
        params = make_params(info)
        optimizer = OURS[info.name](params, **keywords)
        run(optimizer, params, range(3))
        old = copy.deepcopy(optimizer.state_dict())
        for group in old["param_groups"]:
            for flag in flags:
                group.pop(flag, None)
        for state in old["state"].values():
            if "step" in state:
                state["step"] = float(state["step"])
        others = clone_of(params)
        loaded = OURS[info.name](others, **copy.deepcopy(keywords))
        loaded.load_state_dict(old)
        assert loaded.param_groups[0].keys() == optimizer.param_groups[0].keys()
        for one, its in ((optimizer, params), (loaded, others)):
            run(one, its, range(3, 6))
        assert all(torch.equal(p, q) for p, q in zip(params, others, strict=True))


@every_info
def test_names_may_come_or_go_between_checkpoint_and_optimizer(info):
    params = make_params(info)
    plain = OURS[info.name](params)
    run(plain, params, range(3))
    others = clone_of(params)
    named = OURS[info.name]([(f"w{i}", p) for i, p in enumerate(others)])
    assert named.orthogonalized == ["w0", "w1"]
    named.load_state_dict(copy.deepcopy(plain.state_dict()))  # torch shares its tensors
    assert named.orthogonalized == ["w0", "w1"]
    third = clone_of(params)
    again = OURS[info.name](third)
    again.load_state_dict(copy.deepcopy(named.state_dict()))
    for one, its in ((plain, params), (named, others), (again, third)):
        run(one, its, range(3, 6))
    for p, q, r in zip(params, others, third, strict=True):
        assert torch.equal(p, q)
        assert torch.equal(p, r)


@every_info
def test_state_is_there_after_a_step_and_not_before(info):
    for keywords in configurations(info):
        params = make_params(info)
        optimizer = OURS[info.name](params, **keywords)
        by_base = info.name in ("Adagrad",)  # its sums are made by its constructor
        assert bool(optimizer.state) == by_base
        run(optimizer, params, [0])
        stateless = info.name == "SGD" and not keywords.get("momentum")
        kept = [p for p in params if any(v is not None for v in optimizer.state[p].values())]
        assert kept == [] if stateless else len(kept) == len(params)


def order_of_hooks(optimizer, params):
    seen = []
    handles = [
        register_optimizer_step_pre_hook(lambda *_: seen.append("all before")),
        register_optimizer_step_post_hook(lambda *_: seen.append("all after")),
        optimizer.register_step_pre_hook(lambda *_: seen.append("before")),
        optimizer.register_step_post_hook(lambda *_: seen.append("after")),
    ]
    try:
        run(optimizer, params, range(2))
    finally:
        for handle in handles:
            handle.remove()
    run(optimizer, params, [2])
    return seen


@every_info
def test_hooks_run_once_a_step_in_the_order_of_the_bases(info):
    ours, theirs = make_params(info), make_params(info)
    base = info.optim_cls(theirs)  # puts torch's wrapper on the step that ours calls
    seen = order_of_hooks(OURS[info.name](ours), ours)
    assert seen == ["all before", "before", "after", "all after"] * 2
    assert order_of_hooks(base, theirs) == seen


@every_info
def test_a_hook_may_change_the_arguments_of_a_step(info):
    """torch lets a pre-hook return new (args, kwargs); here it puts a closure in."""
    params = make_params(info)
    optimizer = OURS[info.name](params)
    optimizer.register_step_pre_hook(lambda *_: ((optimizer, lambda: 17.0), {}))
    before = [p.detach().clone() for p in params]
    assert optimizer.step() == 17.0
    assert all(torch.equal(p, q) for p, q in zip(params, before, strict=True))


@every_info
def test_hooks_on_checkpoints(info):
    params, seen = make_params(info), []
    optimizer = OURS[info.name](params)
    run(optimizer, params, [0])
    optimizer.register_state_dict_pre_hook(lambda one: seen.append("saving"))
    optimizer.register_state_dict_post_hook(lambda one, state: seen.append("saved") or state)

    def double(one, state):
        seen.append("loading")
        state = copy.deepcopy(state)
        state["param_groups"][0]["lr"] *= 2
        return state

    optimizer.register_load_state_dict_pre_hook(double)
    optimizer.register_load_state_dict_post_hook(lambda one: seen.append("loaded"))
    rate = optimizer.param_groups[0]["lr"]
    optimizer.load_state_dict(optimizer.state_dict())
    assert seen == ["saving", "saved", "loading", "loaded"]
    assert optimizer.param_groups[0]["lr"] == 2 * rate
