"""Gradient scaling and clipping: nothing may rescale a polar factor unasked."""

from __future__ import annotations

import math

import optim_cases as cases
import pytest
import torch
from torch import nn
from torch.amp import GradScaler

from ortho_optim import OrthogonalSGD, orthogonalize

FLOAT = torch.float32  # GradScaler unscales in float32


def scaled_training(model, optimizer, steps, clip=None):
    scaler = GradScaler(device="cpu", init_scale=2.0**16)
    for step in range(steps):
        optimizer.zero_grad()
        cases.backward(model, step, scaler.scale)
        if clip is not None:
            scaler.unscale_(optimizer)
            nn.utils.clip_grad_norm_(model.parameters(), clip)
        scaler.step(optimizer)
        scaler.update()


def plain_training(model, optimizer, steps, clip=None):
    for step in range(steps):
        optimizer.zero_grad()
        cases.backward(model, step)
        if clip is not None:
            nn.utils.clip_grad_norm_(model.parameters(), clip)
        optimizer.step()


@pytest.mark.parametrize("clip", [None, 0.1])
@pytest.mark.parametrize("way", cases.WAYS)
@pytest.mark.parametrize("base", ["momentum", "adam", "adamw", "adagrad"])
@pytest.mark.parametrize("route", ["class", "instance"])
def test_scaled_training_gives_the_weights_of_unscaled_training(route, base, way, clip):
    cls, arguments = cases.BASES[base]
    arguments = arguments | cases.WAYS[way]
    trained = []
    for training in (scaled_training, plain_training):
        net = cases.make_net(dtype=FLOAT)
        if route == "class":
            optimizer = orthogonalize(cls)(net, **arguments)
        else:
            optimizer = orthogonalize(cls(net.parameters(), **arguments), model=net)
        training(net, optimizer, 4, clip)
        trained.append(cases.weights(net))
    # The scale is a power of two, so scaling and unscaling are exact.
    cases.assert_same_bits(*trained)


def test_the_base_alone_would_have_divided_by_the_scale_itself():
    """The hazard is there: torch's fused SGD asks GradScaler to leave the gradients scaled."""
    net = cases.make_net(dtype=FLOAT)
    base = torch.optim.SGD(net.parameters(), lr=0.1, fused=True)
    assert base._step_supports_amp_scaling
    assert not orthogonalize(base, model=net)._step_supports_amp_scaling
    assert not OrthogonalSGD(net, lr=0.1, fused=True)._step_supports_amp_scaling


@pytest.mark.parametrize("way", cases.WAYS)
def test_a_step_with_an_infinite_gradient_is_left_out_by_the_scaler(way):
    net = cases.make_net(dtype=FLOAT)
    optimizer = OrthogonalSGD(net, lr=0.1, momentum=0.9, **cases.WAYS[way])
    scaler = GradScaler(device="cpu", init_scale=2.0**16)
    before = cases.weights(net)
    cases.backward(net, 0, scaler.scale)
    net.conv.weight.grad[0, 0, 0, 0] = math.inf
    scaler.step(optimizer)
    scaler.update()
    cases.assert_same_bits(cases.weights(net), before)
    assert scaler.get_scale() == 2.0**15
    assert not optimizer.state_dict()["state"]


def test_a_scale_left_on_the_optimizer_is_refused():
    optimizer = OrthogonalSGD([nn.Parameter(torch.zeros(2, 2))], lr=0.1, fused=True)
    optimizer.grad_scale = torch.tensor(2.0)
    with pytest.raises(RuntimeError, match="gradients must come unscaled"):
        optimizer.step()


def test_raw_clipping_acts_only_on_what_is_not_orthogonalized():
    clipped, free = cases.make_net(), cases.make_net()
    for net, max_norm in ((clipped, 1e-3), (free, math.inf)):
        optimizer = OrthogonalSGD(net, lr=0.1)
        cases.backward(net, 0)
        nn.utils.clip_grad_norm_(net.parameters(), max_norm)
        optimizer.step()
    a, b = cases.weights(clipped), cases.weights(free)
    for name in cases.LAYERS:
        torch.testing.assert_close(a[name], b[name], rtol=0, atol=1e-9)
    assert all(not torch.equal(a[name], b[name]) for name in a if name not in cases.LAYERS)


def clipped_by_hand(net, max_norm):
    optimizer = torch.optim.SGD(net.parameters(), lr=1.0)
    cases.backward(net, 0)
    for name, p in net.named_parameters():
        if name in cases.LAYERS:
            p.grad = cases.polar_by_hand(p.grad)
    norm = nn.utils.clip_grad_norm_(net.parameters(), max_norm)
    optimizer.step()
    return float(norm)


@pytest.mark.parametrize("max_norm", [0.5, 1e3])
def test_clipping_what_the_base_steps_on(max_norm):
    ours, theirs = cases.make_net(), cases.make_net()
    optimizer = OrthogonalSGD(ours, lr=1.0, clip="orthogonalized", max_norm=max_norm)
    before = cases.weights(ours)
    cases.backward(ours, 0)
    optimizer.step()
    norm = clipped_by_hand(theirs, max_norm)
    assert cases.relative_error(cases.weights(ours), cases.weights(theirs)) < 1e-8
    after = cases.weights(ours)
    moved = math.sqrt(sum(float((after[n] - before[n]).square().sum()) for n in after))
    assert moved == pytest.approx(min(norm, max_norm), rel=1e-4)


def test_clip_words():
    net = cases.make_net()
    for options, words in (
        ({"clip": "both"}, "clip must be one of 'raw', 'orthogonalized', got 'both'"),
        ({"max_norm": 1.0}, "max_norm must go with clip='orthogonalized'"),
        ({"clip": "orthogonalized"}, "must have a max_norm > 0, got None"),
        ({"clip": "orthogonalized", "max_norm": 0.0}, "must have a max_norm > 0, got 0.0"),
    ):
        with pytest.raises(ValueError, match=words):
            OrthogonalSGD(net, lr=0.1, **options)
