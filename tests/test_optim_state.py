"""torch.optim citizenship: state, copies, schedulers, classes and instances."""

from __future__ import annotations

import copy
import io
import pickle
import warnings

import optim_cases as cases
import pytest
import torch
from torch import nn
from torch.optim.lr_scheduler import CosineAnnealingLR, LambdaLR, MultiStepLR, OneCycleLR

import ortho_optim
from ortho_optim import Orthogonalized, OrthogonalSGD, orthogonalize


def make(base, net, route="class"):
    cls, arguments = cases.BASES[base]
    if route == "class":
        return orthogonalize(cls)(net, **arguments)
    return orthogonalize(cls(net.parameters(), **arguments), model=net)


@pytest.mark.parametrize("base", cases.BASES)
@pytest.mark.parametrize("route", ["class", "instance"])
def test_resume_in_the_middle_is_bit_identical(base, route):
    whole = cases.make_net()
    cases.train(whole, make(base, whole, route), range(6))
    net = cases.make_net()
    optimizer = make(base, net, route)
    cases.train(net, optimizer, range(3))
    file = io.BytesIO()
    torch.save({"model": net.state_dict(), "optimizer": optimizer.state_dict()}, file)
    file.seek(0)
    saved = torch.load(file, weights_only=True)
    resumed = cases.make_net(seed=1)
    resumed.load_state_dict(saved["model"])
    optimizer = make(base, resumed, route)
    optimizer.load_state_dict(saved["optimizer"])
    cases.train(resumed, optimizer, range(3, 6))
    cases.assert_same_bits(cases.weights(resumed), cases.weights(whole))


@pytest.mark.parametrize("base", cases.BASES)
def test_state_dicts_are_the_bases_own_and_go_both_ways(base):
    cls, arguments = cases.BASES[base]
    net = cases.make_net()
    ours, theirs = make(base, net), cls(net.parameters(), **arguments)
    torch.testing.assert_close(ours.state_dict(), theirs.state_dict(), rtol=0, atol=0)
    cases.train(net, ours, range(2))
    theirs.load_state_dict(ours.state_dict())
    ours.load_state_dict(theirs.state_dict())
    assert ours.orthogonalized == cases.LAYERS
    cases.train(net, ours, [2])
    cases.train(net, theirs, [3])


@pytest.mark.parametrize("base", [*cases.BASES, "OrthogonalSGD"])
@pytest.mark.parametrize("route", ["class", "instance"])
@pytest.mark.parametrize("copier", [copy.deepcopy, lambda both: pickle.loads(pickle.dumps(both))])
def test_copies_go_on_as_the_original(base, route, copier):
    net = cases.make_net()
    if base == "OrthogonalSGD":
        optimizer = OrthogonalSGD(net, lr=0.1, momentum=0.9, nonfinite="skip", layers="conv")
    else:
        optimizer = make(base, net, route)
    cases.train(net, optimizer, range(2))
    optimizer.skipped["conv.weight"] = 2
    twin_net, twin = copier((net, optimizer))
    assert twin.skipped == optimizer.skipped
    assert type(twin) is type(optimizer)
    assert twin.orthogonalized == optimizer.orthogonalized
    assert twin.param_groups[0]["params"][0] is next(twin_net.parameters())
    for one, its_net in ((optimizer, net), (twin, twin_net)):
        cases.train(its_net, one, range(2, 5))
    cases.assert_same_bits(cases.weights(net), cases.weights(twin_net))


@pytest.mark.parametrize(
    "schedule",
    [
        lambda o: MultiStepLR(o, [1, 3], 0.1),
        lambda o: CosineAnnealingLR(o, 5),
        lambda o: LambdaLR(o, lambda step: 1 / (1 + step)),
        lambda o: OneCycleLR(o, 0.1, total_steps=8),
    ],
)
@pytest.mark.parametrize("when", ["class", "converted before", "converted after"])
def test_schedulers(schedule, when):
    """The same rates as a bare optimiser, no warning, and every step orthogonalised."""
    arguments = {"lr": 0.1, "momentum": 0.9}
    net, bare = cases.make_net(), torch.optim.SGD([nn.Parameter(torch.zeros(1))], **arguments)
    by_hand_net = cases.make_net()
    by_hand = torch.optim.SGD(by_hand_net.parameters(), **arguments)
    matrices = [p for n, p in by_hand_net.named_parameters() if n in cases.LAYERS]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        if when == "class":
            optimizer = OrthogonalSGD(net, **arguments)
            scheduler = schedule(optimizer)
        else:
            optimizer = torch.optim.SGD(net.parameters(), **arguments)
            if when == "converted before":
                orthogonalize(optimizer, model=net)
            scheduler = schedule(optimizer)
            if when == "converted after":
                orthogonalize(optimizer, model=net)
        schedules = [scheduler, schedule(bare), schedule(by_hand)]
        for step in range(5):
            rates = {o.param_groups[0]["lr"] for o in (optimizer, bare, by_hand)}
            assert len(rates) == 1
            cases.train(net, optimizer, [step])
            by_hand.zero_grad()
            cases.backward(by_hand_net, step)
            cases.step_by_hand(by_hand, matrices)
            bare.step()
            for one in schedules:
                one.step()
    # The by-hand polar factor and ours differ by 1e-9 at most, which five steps amplify a little.
    assert cases.relative_error(cases.weights(net), cases.weights(by_hand_net)) < 1e-6


def test_an_instance_keeps_its_state_hooks_and_identity():
    class Base(torch.optim.SGD):  # a class that no other test has made torch put its hooks on
        pass

    net, seen = cases.make_net(), []
    base = Base(net.parameters(), lr=0.1, momentum=0.9)
    base.register_step_post_hook(lambda *_: seen.append(1))
    cases.train(net, base, range(2))
    buffer = base.state[net.conv.weight]["momentum_buffer"]
    optimizer = orthogonalize(base, model=net)
    assert optimizer is base
    assert isinstance(optimizer, Orthogonalized)
    assert isinstance(optimizer, torch.optim.SGD)
    assert optimizer.state[net.conv.weight]["momentum_buffer"] is buffer
    cases.train(net, optimizer, [2])
    assert len(seen) == 3
    assert type(Base(net.parameters(), lr=0.1)) is Base  # the class itself is untouched


def test_a_class_takes_presets_arguments_and_subclassing():
    convs_only = orthogonalize(torch.optim.Adam, layers="conv", nonfinite="skip")
    net = cases.make_net()
    assert convs_only.__name__ == "OrthogonalAdam"
    assert convs_only(net, 0.01, (0.8, 0.9)).orthogonalized == cases.LAYERS[:3]
    assert convs_only(net, layers="all").orthogonalized == cases.LAYERS
    assert convs_only(net, 0.01, (0.8, 0.9)).defaults["betas"] == (0.8, 0.9)

    class Mine(convs_only):
        pass

    assert Mine(net).orthogonalized == cases.LAYERS[:3]
    assert orthogonalize(torch.optim.Adam) is orthogonalize(torch.optim.Adam)


def test_an_optimizer_with_keywords_of_ours_goes_by_instance():
    class Ranked(torch.optim.SGD):
        def __init__(self, params, lr, rank):
            super().__init__(params, lr)
            self.rank = rank

    net = cases.make_net()
    with pytest.raises(TypeError, match="must not have keywords of ours, got Ranked with rank"):
        orthogonalize(Ranked)(net, 0.1, rank=3)
    optimizer = orthogonalize(Ranked(net.parameters(), 0.1, rank=3), rank="complete")
    assert optimizer.rank == 3
    cases.train(net, optimizer, [0])


def test_wrapping_words():
    net = cases.make_net()
    ours = OrthogonalSGD(net, lr=0.1)
    patched = torch.optim.SGD(net.parameters(), lr=0.1)
    patched.step = lambda: None
    wrapper = torch.optim.SGD(net.parameters(), lr=0.1)
    wrapper.optimizer = ours
    for given, error, words in (
        (net, TypeError, r"must be a torch\.optim\.Optimizer, instance or class, got Net"),
        (ours, TypeError, "OrthogonalSGD is orthogonalized already"),
        (OrthogonalSGD, TypeError, "OrthogonalSGD is orthogonalized already"),
        (patched, TypeError, "must have its class's own step"),
        (wrapper, TypeError, "must be the one that steps, got SGD around OrthogonalSGD"),
    ):
        with pytest.raises(error, match=words):
            orthogonalize(given)
    for options, error, words in (
        ({"methods": "exact"}, TypeError, "options must be among model, layers, .* got methods"),
        ({"method": "qr"}, ValueError, "method must be .* got 'qr'"),
        ({"method": "exact", "steps": 3}, ValueError, "steps=3 needs method"),
        ({"backend": "abacus"}, ValueError, "backend must be .* got 'abacus'"),
    ):
        for given in (torch.optim.SGD, torch.optim.SGD(net.parameters(), lr=0.1)):
            with pytest.raises(error, match=words):
                orthogonalize(given, **options)
            assert not isinstance(given, Orthogonalized)


def test_a_failed_conversion_leaves_the_instance_alone():
    base = torch.optim.SGD(cases.make_net().parameters(), lr=0.1)
    with pytest.raises(ValueError, match="need names"):
        orthogonalize(base, exclude="head")
    assert type(base) is torch.optim.SGD
    assert set(vars(base)) == set(vars(torch.optim.SGD([torch.zeros(1)], lr=0.1)))


def test_public_names():
    bases = ("SGD", "Adam", "AdamW", "RMSprop", "Adagrad", "LARS")
    others = {"LARS", "SCALES", "Muon", "Orthogonalized", "Split", "orthogonalize", "split"}
    others |= {"GradientWindow", "TopEigenpair"}
    assert {*ortho_optim.__all__} == others | {"transposed"} | {f"Orthogonal{b}" for b in bases}
    assert all(hasattr(ortho_optim, name) for name in ortho_optim.__all__)
