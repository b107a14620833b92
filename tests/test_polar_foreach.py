"""polar_foreach: a whole model in one call; views, dtypes, outputs."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
import torch
from conftest import DTYPES, POLYNOMIALS, Target, exact_bound, polynomial_bound, rounding
from planted import as_array, bits, gaussian, planted, polynomial_truth, relative_error, truth
from torch import Tensor, nn

import ortho_kernels as ok

Rng = np.random.Generator

BASIC_CNN = [(32, 3, 3, 3), (32, 32, 3, 3), (32, 32, 3, 3), (10, 512)]


def model(rng: Rng) -> list[Tensor]:
    """Mixed shapes and dtypes, as gradients of one model come."""
    shapes = [*BASIC_CNN, (16, 1, 3, 3), (1, 8), (8, 1), (5, 4, 3)]
    dtypes = [*DTYPES, *DTYPES]
    return [gaussian(rng, *shape, dtype=dtype) for shape, dtype in zip(shapes, dtypes, strict=True)]


def flat_error(out: Tensor, x: Tensor) -> float:
    assert out.shape == x.shape
    assert out.dtype == x.dtype
    return relative_error(out.flatten(1), truth(x.flatten(1)))


def test_mixed_shapes_and_dtypes(target: Target, rng: Rng) -> None:
    tensors = model(rng)
    for x, out in zip(tensors, target.polar_foreach(tensors), strict=True):
        assert flat_error(out, x) <= exact_bound(x.dtype, 1e4)
    for method in POLYNOMIALS:
        for x, out in zip(tensors, target.polar_foreach(tensors, method), strict=True):
            wanted = polynomial_truth(x.flatten(1), method)
            bound = polynomial_bound("float32", x.dtype, target.polynomial_form(wanted.shape))
            assert relative_error(out.flatten(1), wanted) <= bound


def test_same_bits_as_one_by_one(target: Target, rng: Rng) -> None:
    tensors = model(rng)
    for options in ({}, {"rank": "complete"}, {"method": "newton_schulz", "precision": "bfloat16"}):
        together = target.polar_foreach(tensors, **options)
        alone = [target.polar(x.flatten(1), **options).view_as(x) for x in tensors]
        assert list(map(bits, together)) == list(map(bits, alone))


def test_channels_last_and_slices(target: Target, rng: Rng) -> None:
    x = gaussian(rng, 8, 4, 3, 3)
    wanted = target.polar_foreach([x])[0]
    last = x.to(memory_format=torch.channels_last)
    inside = torch.full((9, 6, 3, 5), torch.nan)
    inside[1:, ::2][:, :3, :, 1:4] = x[:, :3]
    assert not last.is_contiguous()
    out = target.polar_foreach([last])[0]
    assert relative_error(out.flatten(1), as_array(wanted.flatten(1))) <= 1e-6
    assert out.stride() == last.stride()
    part = inside[1:, ::2][:, :3, :, 1:4]
    assert flat_error(target.polar_foreach([part])[0], part) <= exact_bound(torch.float32, 1e4)
    outs = [torch.full((8, 3, 3, 4), torch.nan).permute(0, 3, 1, 2)]
    assert ok.polar_foreach([x], backend=target.backend, out=outs)[0] is outs[0]
    assert relative_error(outs[0].flatten(1), as_array(wanted.flatten(1))) <= 1e-6


# ---- Views ---------------------------------------------------------------------------------------


def test_batch_view(target: Target, rng: Rng) -> None:
    x = gaussian(rng, 3, 6, 9)
    assert bits(target.polar_foreach([x], view="batch")[0]) == bits(target.polar(x))


def test_heads(target: Target, rng: Rng) -> None:
    """Row blocks on their own: a fused query, key and value."""
    x = torch.cat([planted(rng, 8, 40, 10), 100 * planted(rng, 8, 40, 10), torch.zeros(8, 40)])
    out = target.polar_foreach([x], view=ok.heads(3))[0]
    for block in range(3):
        rows = slice(8 * block, 8 * block + 8)
        assert relative_error(out[rows], truth(x[rows])) <= exact_bound(torch.float32, 10)
    convolution = gaussian(rng, 6, 2, 3, 3)
    out = target.polar_foreach([convolution], view=ok.heads(2))[0]
    wanted = truth(convolution.reshape(2, 3, 18)).reshape(convolution.shape)
    assert relative_error(out.flatten(1), wanted.reshape(6, 18)) <= exact_bound(torch.float32, 1e4)


def test_one_view_per_tensor(target: Target, rng: Rng) -> None:
    x = gaussian(rng, 4, 6, 9)
    flat, batch, blocks = target.polar_foreach([x, x, x], view=["flatten", "batch", ok.heads(2)])
    assert flat_error(flat, x) <= exact_bound(torch.float32, 1e4)
    assert relative_error(batch, truth(x)) <= exact_bound(torch.float32, 1e4)
    wanted = truth(x.reshape(2, 2, 54)).reshape(4, 54)
    assert relative_error(blocks.flatten(1), wanted) <= exact_bound(torch.float32, 1e4)


def test_callable_view(target: Target, rng: Rng) -> None:
    x, other = gaussian(rng, 4, 6, 9), gaussian(rng, 5, 7)
    before = bits(x)
    by_column, plain = target.polar_foreach(
        [x, other], view=[lambda t: t.permute(2, 0, 1), "batch"]
    )
    wanted = np.moveaxis(truth(x.permute(2, 0, 1)), 0, 2)
    assert np.abs(as_array(by_column) - wanted).max() <= exact_bound(torch.float32, 1e4)
    assert relative_error(plain, truth(other)) <= exact_bound(torch.float32, 1e4)
    # Several views of one tensor; what none covers keeps its value.
    parts = target.polar_foreach([x], view=lambda t: [t[0], t[2, :, :4]])[0]
    assert relative_error(parts[0], truth(x[0])) <= exact_bound(torch.float32, 1e4)
    assert relative_error(parts[2, :, :4], truth(x[2, :, :4])) <= exact_bound(torch.float32, 1e4)
    assert torch.equal(parts[[1, 3]], x[[1, 3]])
    assert torch.equal(parts[2, :, 4:], x[2, :, 4:])
    assert bits(x) == before
    same = x.clone()
    ok.polar_foreach([same], view=lambda t: [t[0], t[2, :, :4]], backend=target.backend, out=[same])
    assert bits(same) == bits(parts)


def test_callable_view_must_view() -> None:
    with pytest.raises(ValueError, match=r"^polar_foreach: view must return views of out\[0\]"):
        ok.polar_foreach([torch.ones(2, 2)], view=lambda t: t.clone())
    with pytest.raises(
        TypeError, match=r"^polar_foreach: view must return tensors for tensors\[0\]"
    ):
        ok.polar_foreach([torch.ones(2, 2)], view=lambda t: [3])


@pytest.mark.parametrize(
    ("tensors", "options", "words"),
    [
        ([(2, 2), (3,)], {}, "tensors[1] must have at least 2 dimensions, got shape (3,)"),
        ([(3,)], {"view": "batch"}, "tensors[0] must have at least 2 dimensions, got shape (3,)"),
        (
            [(12, 7)],
            {"view": ok.heads(5)},
            "tensors[0] must have a first dimension divisible by 5 row blocks, got shape (12, 7)",
        ),
        (
            [(2, 2)],
            {"view": "rows"},
            "view must be 'flatten', 'batch', heads(n), a callable, or one of these per tensor, "
            "got 'rows'",
        ),
        ([(2, 2)], {"view": ["batch"] * 2}, "view must have length 1 like tensors, got 2"),
        ([(2, 2)], {"out": []}, "out must have length 1 like tensors, got 0"),
    ],
)
def test_bad_calls(target: Target, tensors: Any, options: Any, words: str) -> None:
    with pytest.raises(ValueError, match=f"^polar_foreach: {re.escape(words)}$"):
        target.polar_foreach([torch.ones(shape) for shape in tensors], **options)


def test_heads_arguments() -> None:
    with pytest.raises(ValueError, match=r"^heads: n must be >= 1, got 0$"):
        ok.heads(0)
    with pytest.raises(TypeError, match=r"^heads: n must be an int, got float$"):
        ok.heads(2.0)  # type: ignore[arg-type]


# ---- Outputs -------------------------------------------------------------------------------------


def test_out_may_be_the_inputs(target: Target, rng: Rng) -> None:
    tensors = model(rng)
    wanted = target.polar_foreach(tensors)
    outs = ok.polar_foreach(tensors, backend=target.backend, out=tensors)
    assert all(out is x for out, x in zip(outs, tensors, strict=True))
    assert list(map(bits, outs)) == list(map(bits, wanted))


def test_outputs_may_not_meet_others(target: Target) -> None:
    base = torch.arange(100.0)
    a, b, c = base[:6].view(2, 3), base[10:16].view(2, 3), base[20:26].view(2, 3)
    before = base.clone()

    def refused(xs: list[Tensor], outs: list[Tensor], words: str) -> None:
        with pytest.raises(ValueError, match=f"^polar_foreach: {re.escape(words)}$"):
            ok.polar_foreach(xs, backend=target.backend, out=outs)
        assert torch.equal(base, before)

    refused([a, b], [c, base[23:29].view(2, 3)], "out[1] must not overlap out[0]")
    refused([a, b], [b, c], "out[0] must not overlap tensors[1]")
    refused([a, b], [c, a], "out[1] must not overlap tensors[0]")
    ok.polar_foreach([a, a], backend=target.backend, out=[b, c])  # inputs may be one another
    assert torch.equal(b, c)


def test_empty_lists_and_tensors(target: Target) -> None:
    assert target.polar_foreach([]) == []
    assert ok.polar_foreach([], out=[]) == []
    shapes = [(0, 3), (3, 0), (0, 2, 3, 3), (4, 0, 3, 3), (2, 2)]
    outs = target.polar_foreach([torch.ones(shape) for shape in shapes])
    assert [tuple(out.shape) for out in outs] == shapes
    (one,) = target.polar_foreach(iter([3 * torch.eye(2)]))
    assert (one - torch.eye(2)).norm() <= rounding(torch.float32, 2, 8)


def test_one_bad_tensor_of_many(target: Target, rng: Rng) -> None:
    tensors = model(rng)
    clean = target.polar_foreach(tensors)
    tensors[1].view(-1)[7] = float("nan")
    outs = target.polar_foreach(tensors)
    assert outs[1].isnan().all()
    for i in (0, *range(2, len(tensors))):
        assert bits(outs[i]) == bits(clean[i])


def test_gradients_of_a_network(target: Target, rng: Rng) -> None:
    """The use it is made for: every weight's gradient, in one call, none of them written."""
    net = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 36, 10))
    loss = nn.functional.cross_entropy(net(gaussian(rng, 32, 3, 8, 8)), torch.arange(32) % 10)
    loss.backward()
    gradients = [p.grad for p in net.parameters() if p.ndim > 1]
    before = list(map(bits, gradients))
    outs = target.polar_foreach(gradients)
    assert list(map(bits, gradients)) == before
    # A softmax head has rank C - 1.
    assert outs[1].square().sum().item() == pytest.approx(9, rel=1e-4)
    assert outs[0].square().sum().item() == pytest.approx(8, rel=1e-4)
