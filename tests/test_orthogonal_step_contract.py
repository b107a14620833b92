"""orthogonal_step_: it writes nothing else, refuses in words, and is a torch op."""

from __future__ import annotations

import itertools
import re
from typing import Any

import pytest
import torch
from conftest import DTYPES, Target
from planted import bits
from step_cases import OP, PLACEMENTS, RULES, SHAPES, Case
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode

import ortho_kernels as ok

# ---- What is written -----------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_gradients_are_not_written(target: Target, dtype: torch.dtype) -> None:
    for rule, placement in itertools.product(RULES, PLACEMENTS):
        case = Case(dtype)
        before = list(map(bits, case.gradients))
        case.step(target, **RULES[rule], placement=placement)
        assert list(map(bits, case.gradients)) == before


@pytest.mark.parametrize("placement", PLACEMENTS)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32], ids=str)
def test_nothing_is_written_between_the_strides(
    target: Target, dtype: torch.dtype, placement: str
) -> None:
    around = [torch.full((9, 12, 3, 5), torch.nan, dtype=dtype) for _ in range(2)]
    case = Case(dtype, [(8, 6, 3, 3)])
    for base, tensors in zip(around, (case.weights, case.momenta), strict=True):
        inside = base[1:, ::2, :, 1:4]
        tensors[0] = inside.copy_(tensors[0])
    case.step(target, **RULES["momentum"], placement=placement)
    for base in around:
        assert base[1:, ::2, :, 1:4].isfinite().all()
        assert int(base.isfinite().sum()) == 8 * 6 * 3 * 3


@pytest.mark.parametrize("placement", PLACEMENTS)
@pytest.mark.parametrize("poison", [float("nan"), float("inf")])
def test_a_bad_gradient_spoils_its_own_matrix_only(
    target: Target, placement: str, poison: float
) -> None:
    case, clean = Case(torch.float32), Case(torch.float32)
    case.gradients[1].view(-1)[3] = poison
    options = RULES["momentum"] | {"placement": placement}
    case.step(target, **options)
    clean.step(target, **options)
    assert case.weights[1].isnan().all()
    for i in (0, *range(2, len(SHAPES))):
        assert bits(case.weights[i]) == bits(clean.weights[i])
        assert bits(case.momenta[i]) == bits(clean.momenta[i])
    # Of a stack, the one matrix.
    x, w = torch.eye(3).repeat(2, 1, 1), torch.ones(2, 3, 3)
    x[1, 0, 0] = poison
    ok.orthogonal_step_([w], [x], lr=0.5, view="batch", backend=target.backend)
    assert w[1].isnan().all()
    assert torch.allclose(w[0], torch.ones(3, 3) - 0.5 * torch.eye(3))


@pytest.mark.parametrize("placement", PLACEMENTS)
def test_zero_gradient_moves_nothing(target: Target, placement: str) -> None:
    case = Case(torch.float32)
    case.gradients = [torch.zeros_like(g) for g in case.gradients]
    before = list(map(bits, case.weights))
    case.step(target, buffers=False, lr=0.1, placement=placement)
    assert list(map(bits, case.weights)) == before


def test_empty(target: Target) -> None:
    ok.orthogonal_step_([], [], lr=0.1, backend=target.backend)
    empty = [torch.ones(0, 3), torch.ones(3, 0), torch.ones(2, 2)]
    weights = [x.clone() for x in empty]
    ok.orthogonal_step_(weights, empty, lr=0.1, backend=target.backend)
    assert [tuple(w.shape) for w in weights] == [(0, 3), (3, 0), (2, 2)]
    assert not torch.equal(weights[2], empty[2])


# ---- Hostile arguments ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("weights", "gradients", "momenta", "options", "error", "words"),
    [
        ([(2, 2)], [(2, 3)], [], {}, ValueError, "weights[0] must have shape (2, 3), got (2, 2)"),
        ([(3,)], [(3,)], [], {}, ValueError, "gradients[0] must have at least 2 dimensions, got "
         "shape (3,)"),
        ([(2, 2)], [(2, 2)], [(2, 1)], {}, ValueError, "momenta[0] must have shape (2, 2), got "
         "(2, 1)"),
        ([(2, 2)], [], [], {}, ValueError, "gradients must have length 1 like weights, got 0"),
        ([(2, 2)], [(2, 2)], [], {"scale": [1.0, 2.0]}, ValueError, "scales must have length 1 "
         "like weights, got 2"),
        ([(2, 2)], [(2, 2)], [], {"scale": float("inf")}, ValueError, "scales[0] must be finite, "
         "got inf"),
        ([(2, 2)], [(2, 2)], [], {"lr": float("nan")}, ValueError, "lr must be finite, got nan"),
        ([(2, 2)], [(2, 2)], [], {"placement": "both"}, ValueError, "placement must be 'gradient' "
         "or 'update', got 'both'"),
        ([(2, 2)], [(2, 2)], [], {"decay": "none"}, ValueError, "decay must be 'coupled' or "
         "'decoupled', got 'none'"),
        ([(3, 2)], [(3, 2)], [], {"view": ok.heads(2)}, ValueError, "gradients[0] must have a "
         "first dimension divisible by 2 row blocks, got shape (3, 2)"),
        ([(2, 2)], [(2, 2)], [], {"view": lambda x: x}, ValueError, "view must be 'flatten', "
         "'batch' or heads(n), got a callable"),
    ],
)  # fmt: skip
def test_bad_calls(
    target: Target,
    weights: Any,
    gradients: Any,
    momenta: Any,
    options: Any,
    error: type[Exception],
    words: str,
) -> None:
    lists = [[torch.ones(shape) for shape in shapes] for shapes in (weights, gradients, momenta)]
    with pytest.raises(error, match=f"^orthogonal_step_: {re.escape(words)}$"):
        ok.orthogonal_step_(*lists, **{"lr": 0.1, "backend": target.backend} | options)
    assert all(torch.equal(x, torch.ones_like(x)) for one in lists for x in one)


def test_bad_tensors(target: Target) -> None:
    one, options = torch.ones(2, 2), {"lr": 0.1, "backend": target.backend}

    def refused(error: type[Exception], words: str, *lists: Any) -> None:
        with pytest.raises(error, match=f"^orthogonal_step_: {re.escape(words)}"):
            ok.orthogonal_step_(*lists, **options)

    refused(TypeError, "weights[0] must be float32 like gradients[0], got float64", [one.double()],
            [one])  # fmt: skip
    refused(TypeError, "gradients[0] must be float16, bfloat16, float32 or float64, got int64",
            [one.long()], [one.long()])  # fmt: skip
    refused(TypeError, "weights[0] must be a torch.Tensor, got list", [[1.0]], [one])
    refused(ValueError, "weights[0] must not overlap itself, got strides (0, 1)",
            [torch.ones(2).expand(2, 2)], [one])  # fmt: skip
    grad = torch.ones(2, 2, requires_grad=True)
    refused(RuntimeError, "weights[0] must not meet automatic differentiation", [grad], [one])
    with torch.no_grad():
        ok.orthogonal_step_([grad], [one], **options)
    assert not torch.equal(grad, one)


def test_nothing_that_is_written_may_overlap(target: Target) -> None:
    base = torch.arange(100.0)
    a, b, c = base[:6].view(2, 3), base[10:16].view(2, 3), base[20:26].view(2, 3)
    near = base[23:29].view(2, 3)
    before = base.clone()

    def refused(words: str, *lists: list[Tensor]) -> None:
        with pytest.raises(ValueError, match=f"^orthogonal_step_: {re.escape(words)}$"):
            ok.orthogonal_step_(*lists, lr=0.1, backend=target.backend)
        assert torch.equal(base, before)

    refused("weights[0] must not overlap gradients[0]", [a], [a])
    refused("momenta[0] must not overlap weights[0]", [a], [b], [a])
    refused("weights[1] must not overlap weights[0]", [a, a], [b, c])
    refused("weights[1] must not overlap gradients[0]", [a, near], [c, b])
    refused("weights[0] must not overlap gradients[0] unless it is the same memory", [near], [c])
    ok.orthogonal_step_([a], [b], lr=0.1, backend=target.backend)
    ok.orthogonal_step_([a, c], [b, b], lr=0.1, backend=target.backend)  # gradients are only read


# ---- As a torch op -------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_opcheck(target: Target, dtype: torch.dtype) -> None:
    for buffers, placement in itertools.product((True, False), PLACEMENTS):
        case = Case(dtype, SHAPES[:3])
        momenta = case.momenta if buffers else []
        args = (case.weights, case.gradients, momenta, [1, 0, 2], [1.0] * 3, [False] * 3, 0.1, 0.9)
        keywords = {"placement": placement, "backend": target.backend}
        results = torch.library.opcheck(OP, args, keywords)
        assert set(results.values()) == {"SUCCESS"}, results


@pytest.mark.parametrize("compiler", ["eager", "aot_eager", "inductor"])
def test_compiled(target: Target, compiler: str) -> None:
    torch._dynamo.reset()

    def step(w: Tensor, g: Tensor, v: Tensor) -> Tensor:
        before = w.sum()
        ok.orthogonal_step_([w], [2 * g], [v], lr=0.1, momentum=0.9, backend=target.backend)
        return before - w.sum() + v.norm()

    case, compiled = Case(torch.float64, SHAPES[:1]), Case(torch.float64, SHAPES[:1])
    wanted = step(case.weights[0], case.gradients[0], case.momenta[0])
    function = torch.compile(step, fullgraph=True, backend=compiler)
    got = function(compiled.weights[0], compiled.gradients[0], compiled.momenta[0])
    torch.testing.assert_close(got, wanted)
    assert compiled.bits() == case.bits()


@pytest.mark.parametrize("device", ["cpu", "meta", "cuda"])
def test_fake_tensors(device: str) -> None:
    with FakeTensorMode():
        w, g, v = (torch.empty(4, 3, 3, 3, device=device) for _ in range(3))
        assert ok.orthogonal_step_([w], [g], [v], lr=0.1) is None
        with pytest.raises(ValueError, match=r"^orthogonal_step_: momenta\[0\] must have shape"):
            ok.orthogonal_step_([w], [g], [torch.empty(4, 3, device=device)], lr=0.1)


def test_a_graph_that_saved_a_weight_notices(target: Target) -> None:
    w = torch.eye(3)
    x = torch.ones(3, requires_grad=True)
    y = (x @ w).sum()
    ok.orthogonal_step_([w], [torch.eye(3)], lr=0.1, backend=target.backend)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        y.backward()
